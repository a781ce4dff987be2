"""The command ``report``: one page in HTML that needs nothing else. The verdict, charts, what ran, the settings."""

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import plotly.graph_objects as go
import typer
from plotly.io import to_html

from flink_jobs.records import find_record
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run, load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.whole_file import write_whole
from streamproof.dashboard import charts
from streamproof.dashboard.words import measured, moment, thing
from validation.cli import WAIT_SECONDS, JobOption, RunArgument, SizeOption, SlideOption
from validation.jobs import Wanted
from validation.kafka_records import RunRecords
from validation.live.ratings import Windows, sampled_lines, sampled_sizes
from validation.report import job_of, render, shape
from validation.verdict import Verdict, open_database, validate

_PRODUCTS = 3
_CHART_STYLE = Path(charts.__file__).parent / "assets" / "charts.css"
_VERSIONS = ("apache-flink", "nipyapi", "paho-mqtt", "confluent-kafka", "duckdb", "plotly")


def report(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="The file to write. Default: report.html beside the manifest.")
    ] = None,
    job: JobOption = None,
    size: SizeOption = None,
    slide: SlideOption = None,
) -> None:
    """Judge a run and write one HTML page that needs no network: verdict, charts, what ran, settings."""
    home, kafka = HomeSettings(), KafkaSettings()
    wanted = Wanted.parse(job, size, slide)
    verdict = validate(run, home, kafka, wanted=wanted, wait=WAIT_SECONDS, late=late_rows, stages=STAGES)
    page = output or home.runs / run / "report.html"
    write_run_report(verdict, home, kafka, page)
    console.print(f"report: {page} ({'PROVEN' if verdict.proven else 'NOT PROVEN'})", markup=False, soft_wrap=True)


def write_run_report(verdict: Verdict, home: HomeSettings, kafka: KafkaSettings, output: Path) -> None:
    """Write the page of a run that was judged.

    Args:
        verdict: what was found.
        home: where the run's manifest is.
        kafka: where the windows of the verdict's job are.
        output: the file to write; it appears when it is whole.

    Raises:
        StreamproofError: Kafka cannot be read, or the file cannot be written.

    """
    run = load_run(verdict.run, home)
    figures = _figures(verdict, run, home, kafka) if verdict.job else {}
    # The first chart brings plotly's own code along, so that the page needs no network.
    drawn = {
        caption: to_html(figure, full_html=False, include_plotlyjs=number == 0, default_height=360)
        for number, (caption, figure) in enumerate(figures.items())
    }
    template = Path(__file__).with_name("run_report.html")  # it extends validation's report.html
    page = render(
        verdict,
        template,
        run=run,
        charts=drawn,
        style=_CHART_STYLE.read_text(encoding="utf-8"),
        ran=_what_ran(verdict, run),
    )
    try:
        write_whole(output, page)
    except OSError as error:
        raise StreamproofError(f"the report cannot be written to {output}: {error.strerror}") from error


def _figures(verdict: Verdict, run: Run, home: HomeSettings, kafka: KafkaSettings) -> Mapping[str, go.Figure]:
    measure, products = measured(run.contract), f"{thing(run.contract)}s"
    with (
        open_database(home.runs / run.run) as db,
        RunRecords(db, run, kafka, only="windows") as records,
    ):
        records.read()
        windows = Windows(db, job_of(verdict))
        bounds = windows.bounds()
        most = {f"{p.category} {p.key}": windows.series(p.category, p.key) for p in windows.search("", _PRODUCTS)}
        lines, sizes = sampled_lines(most.values()), windows.sizes()
        return {
            f"Average {measure} of the {len(most)} {products} with most rows, window by window{lines}":
                charts.average_chart(most, bounds, measure),
            f"How many {products} have which average {measure}, of all their rows":
                charts.distribution_chart(windows.distribution_of_run(bounds), None, bounds, products, measure),
            f"What is in each window of {shape(verdict)}: rows, and {products}{sampled_sizes(sizes, verdict.slide)}":
                charts.size_chart(sizes, products),
        }  # fmt: skip


def _what_ran(verdict: Verdict, run: Run) -> dict[str, str]:
    pace = f"{float(run.interval):g} ms between two rows of a category" if run.interval else "the file's own time"
    found = {
        "begun": moment(round(run.created.timestamp() * 1000)),
        "state": run.state,
        "clock": {"wall": "wall clock", "virtual": "virtual clock, as fast as the chain takes it"}[run.clock],
        "pace": pace + (f", {float(run.speed):g} times as fast" if run.speed else ""),
        "event time": f"from {moment(run.start)}" if run.start is not None else "the file's own",
        "rows a message": f"up to {run.batch_rows}, within {run.batch_ms} ms",
        "confirmed by": run.confirm,
    }
    if verdict.job and (job := find_record(verdict.job)):
        options = job.options
        found["job"] = (
            f"{job.job} {options.window} ({', '.join(options.measures)}), "
            f"{'following the run' if options.run else 'live'}, parallelism "
            f"{options.parallelism}, a checkpoint each {options.checkpoint_interval} ms"
        )
    installed = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _VERSIONS)
    return found | {"versions": f"{installed} (installed at {datetime.now(UTC):%Y-%m-%d})"}
