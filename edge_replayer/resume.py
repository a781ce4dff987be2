"""What an ended process left of a run, and whether another one may go on with it."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from edge_replayer.options import ReplayOptions
from edge_replayer.sent_file import SentFile
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.run import Run, load_run, manifest_path, source_of
from streamproof.core.settings import HomeSettings

SORT_FOLDER = "sort-"
"""What the name of a run's folder for sorting begins with; a killed process leaves its own behind."""


def take_over(
    run: str,
    home: HomeSettings,
    in_flight: int,
    files: Mapping[str, Path],
    edge: str | None = None,
    *,
    expelled: bool = False,
) -> tuple[Run, SentFile, ReplayOptions]:
    """Return a run's manifest with what was sent at the end, its sent file, held by this process, and its options.

    Args:
        run: the run's id.
        home: where its manifest is.
        in_flight: as in the options.
        files: the new places of files that have moved.
        edge: where several edges send the run, which one goes on.
        expelled: whether it is given up: no row follows those that were sent.

    Raises:
        UsageError: there is no such run, it has ended, another process sends it, or a file has changed.

    """
    before = load_run(run, home, edge)
    if before.edges and not edge:
        raise UsageError(f"the run {run!r} is sent by the edges {', '.join(before.edges)}: say which one, --edge NAME")
    _refuse_ended(before, expelled=expelled)
    folder = manifest_path(run, home, edge).parent
    sent = SentFile(folder, before.sources)
    with ExitStack() as on_error:
        on_error.callback(sent.close)
        before = load_run(run, home, edge).with_files(files)  # nobody else writes it from now on
        _refuse_ended(before, expelled=expelled)
        before.expelled = expelled
        _refuse_changed(before)
        for left in folder.glob(f"{SORT_FOLDER}*"):
            shutil.rmtree(left, ignore_errors=True)
        for category, seq in sent.read().items():
            before.rows[category].sent = max(before.rows[category].sent, seq)
        options = _options(before, in_flight)
        on_error.pop_all()
    return before, sent, options


def _options(run: Run, in_flight: int) -> ReplayOptions:
    return ReplayOptions(
        contract=run.contract,
        files={category: source.file for category, source in run.sources.items()},
        interval=run.interval,
        speed=run.speed,
        clock=run.clock,
        start=run.start,
        limit=run.limit,
        loop=run.loop,
        batch_rows=run.batch_rows,
        batch_ms=run.batch_ms,
        in_flight=in_flight,
        confirm=run.confirm,
        run=run.run if run.edges else None,
        edge=run.edge,
        edges=run.edges,
        strict=run.strict,
        allow_empty=run.allow_empty,
    )


def _refuse_ended(run: Run, *, expelled: bool) -> None:
    if run.expelled and not expelled:
        raise UsageError(f"the edge {run.edge} was expelled from the run {run.run!r}: no row of it may follow")
    if run.state == "finished" and not run.edges:  # another edge may not have heard that this one is done
        raise UsageError(f"the run {run.run!r} is finished: there is nothing left to send")
    if run.ended and run.state == "stopped":
        raise UsageError(f"the run {run.run!r} was stopped and its end is marked, which closes its windows: begin anew")


def _refuse_changed(run: Run) -> None:
    for category, source in run.sources.items():
        if not source.file.is_file():
            raise UsageError(
                f"{source.file} ({category}) is gone: put the file there again, or a link to it, or say where it is "
                f"now ({run.resumption.removeprefix('streamproof ')} {category}=FILE), for the run {run.run!r} to go on"
            )
        if source_of(source.file).sha256 != source.sha256:
            raise UsageError(
                f"{source.file} ({category}) has changed since the run {run.run!r} began, or is another file: "
                "a run goes on with the same bytes only"
            )


class FilesAsTheyWere:
    """Files that are to stay as they are while they are replayed: their size, times and places are cheap to ask for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {category: (path, _about(path)) for category, path in files.items()}

    def refuse_changed(self, run: Run) -> None:
        """Refuse files that hold other bytes than the manifest says.

        Raises:
            StreamproofError: one of them has changed, or is gone.

        """
        for category, (path, before) in self._files.items():
            try:
                if _about(path) == before or source_of(path).sha256 == run.sources[category].sha256:
                    continue
                what = "has changed"
            except FileNotFoundError:
                what = "has gone"
            raise StreamproofError(
                f"{path} ({category}) {what} while it was replayed: which of its bytes were sent is not known, so "
                f"the run {run.run!r} has failed. Begin anew with a file that stays as it is"
            )


def _about(path: Path) -> tuple[int, int, int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
