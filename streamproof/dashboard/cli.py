"""The command ``dashboard``."""

import signal
import threading
from typing import Annotated

import typer

from streamproof.chain.ask_servers import questions
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.health import Watch
from streamproof.core.command import console, set_by, wait_for
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.dashboard.guarded_page import ask_for_token, page_context, speak_tls
from validation.live.reader import Reader

HOST, PORT = "127.0.0.1", 28050


def dashboard(
    run: Annotated[str | None, typer.Option(help="The run to look at. Default: always the newest one.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port on this machine's loopback.")] = PORT,
) -> None:
    """Show a run on a live page, until Ctrl-C; servers and runs may come and go meanwhile."""
    # DuckDB and plotly load it when they first meet data, and one thread must not find it half loaded by another.
    import pandas  # noqa: F401
    from werkzeug.serving import WSGIRequestHandler, make_server

    from streamproof.dashboard.page import make_page

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing: a page asks each second."""

    home = HomeSettings()
    if run:
        load_run(run, home)
    kafka = KafkaSettings()
    context = page_context(kafka.tls)
    reader = Reader(run, home, kafka, STAGES)
    watch = Watch(questions(), lambda: reader.picture.run)
    page = make_page(reader, watch.parts)
    try:
        server = make_server(HOST, port, page.server, threaded=True, request_handler=Quiet)
    except (OSError, SystemExit) as error:
        raise UsageError(f"port {port} of {HOST} cannot be used: choose another with --port") from error
    if context:
        speak_tls(server, context)
    address = f"https://{HOST}:{port}/?token={ask_for_token(page.server)}" if context else f"http://{HOST}:{port}/"
    # An exception in the thread that serves would close the connection of a request that is being answered.
    stop = set_by(signal.SIGTERM, signal.SIGINT)
    reader.start()
    watch.start()
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    console.print(f"the page: {address}   (Ctrl-C ends it)", soft_wrap=True)
    wait_for(stop)
    server.shutdown()
    serving.join()
    watch.stop()
    reader.stop()
    server.server_close()
