"""A whole replay: files in, messages out, and the manifest that says what was sent."""

import hashlib
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from heapq import merge
from itertools import chain, islice
from pathlib import Path
from types import FrameType
from typing import Any

from edge_replayer.csv_rows import CsvRow, CsvRows
from edge_replayer.in_flight import InFlight
from edge_replayer.options import ReplayOptions
from edge_replayer.pace import DueRow, FilePace, IntervalPace
from edge_replayer.payload import Payloads
from edge_replayer.progress import RunProgress
from edge_replayer.publisher import MqttPublisher, Publisher, StandardOutput
from edge_replayer.rejects import Rejects
from edge_replayer.sender import Sender
from edge_replayer.time_order import sorted_by_time
from streams.command import console
from streams.errors import StreamproofError, UsageError
from streams.run import RowCounts, Run, Source, manifest_path, new_run_id
from streams.settings import HomeSettings, MqttSettings

_SAVE_EVERY = 2.0


def replay(
    options: ReplayOptions,
    home: HomeSettings | None = None,
    mqtt: MqttSettings | None = None,
    stop: threading.Event | None = None,
) -> Run:
    """Replay CSV files and return the run's manifest, as it was saved.

    Delivery: at least once while this process lives (see ``edge_replayer.publisher``). ``stop``, Ctrl-C and SIGTERM
    end the run early: what was sent is confirmed, the end mark sent, and the run's state is ``stopped``.

    Raises:
        UsageError: a file, a category or the run's id cannot be used.
        StreamproofError: the broker cannot be reached or refuses, no row fits, or, if strict, one does not.

    """
    stop = stop or threading.Event()
    with ExitStack() as cleanup:
        run = _Replay(options, home or HomeSettings(), mqtt or MqttSettings(), stop, cleanup)
        cleanup.enter_context(_signals(stop))
        return run.run()


class _Replay:
    def __init__(
        self,
        options: ReplayOptions,
        home: HomeSettings,
        mqtt: MqttSettings,
        stop: threading.Event,
        cleanup: ExitStack,
    ) -> None:
        self._options, self._home, self._mqtt, self._stop, self._cleanup = options, home, mqtt, stop, cleanup
        self._id = options.run or new_run_id()
        self._manifest: Run | None = None
        self._saved = 0.0
        folder = manifest_path(self._id, home).parent
        if folder.exists():
            raise UsageError(f"the run {self._id!r} exists already ({folder}): choose another id, or none")
        self._files = {category: CsvRows(options.contract, path) for category, path in options.files.items()}
        self._in_flight = InFlight(list(self._files), options.in_flight)
        self._publisher = self._connect()
        self._folder = None if options.to == "stdout" else folder
        if self._folder:
            self._folder.mkdir(parents=True)
        self._rejects = {
            category: Rejects(
                file.path,
                self._folder / f"rejects-{category}.csv" if self._folder else None,
                strict=options.strict,
            )
            for category, file in self._files.items()
        }

    def run(self) -> Run:
        """Send everything; the manifest is right whatever happens on the way."""
        options = self._options
        for rejects in self._rejects.values():
            self._cleanup.callback(rejects.close)
        self._manifest = manifest = Run(
            run=self._id,
            contract=options.contract,
            clock=options.clock,
            pace="file" if options.interval is None else "interval",
            interval=options.interval,
            speed=options.speed,
            start=options.start,
            limit=options.limit,
            loop=options.loop,
            batch_rows=options.batch_rows,
            batch_ms=options.batch_ms,
            sources={category: _source(path) for category, path in options.files.items()},
            rows={category: RowCounts() for category in options.files},
            created=datetime.now(UTC),
        )
        state = "stopped"
        try:
            self._save()
            if self._send(manifest):
                state = "finished"
        finally:
            self._count()
            manifest.state = state  # type: ignore[assignment]
            self._save()
        for category, counts in manifest.rows.items():
            if not counts.sent and state == "finished":
                console.print(f"{options.files[category]}: no row fits the contract", markup=False)
        return manifest

    def _connect(self) -> Publisher:
        publisher: Publisher
        if self._options.to == "stdout":
            publisher = StandardOutput(self._in_flight)
        else:
            publisher = MqttPublisher(self._options.contract.name, self._id, self._in_flight, self._mqtt)
        self._cleanup.callback(publisher.close)
        return publisher

    def _send(self, manifest: Run) -> bool:
        progress = self._cleanup.enter_context(RunProgress({c: self._share_read(c) for c in self._files}))

        def tick() -> None:
            self._count()
            progress.show(manifest.rows)
            if time.monotonic() >= self._saved + _SAVE_EVERY:
                self._save()

        rows, moment = self._schedule(manifest)
        options = self._options
        sender = Sender(
            payloads=Payloads(self._id, options.contract, list(self._files)),
            publisher=self._publisher,
            in_flight=self._in_flight,
            batch_rows=min(options.batch_rows, options.in_flight),
            batch_ms=options.batch_ms,
            moment=moment,
            stop=self._stop,
            tick=tick,
        )
        try:
            is_all_sent = sender.send(rows)
        except StreamproofError:
            # A strict run met a bad row, or a file broke off: what is sent stays sent, so its end is marked.
            self._stop.set()
            sender.finish()
            raise
        is_confirmed = sender.finish()
        self._count()
        progress.show(manifest.rows, is_last=True)
        if not is_confirmed:
            console.print("stopped before everything was confirmed: no end mark was sent")
        if is_all_sent and not any(self._in_flight.sent.values()):
            raise StreamproofError("no row of these files fits the contract: nothing was sent (see the rejects)")
        return is_all_sent and is_confirmed

    def _schedule(self, manifest: Run) -> tuple[Iterator[DueRow], Callable[[int], float]]:
        """Return the rows of all categories, ordered by event time, and the moment at which each is sent."""
        options = self._options
        pace: IntervalPace | FilePace
        if options.interval is not None:
            ordered = [self._file_order(category) for category in self._files]
            start = _now() if options.start is None else options.start
            manifest.start = start
            pace = IntervalPace(options.interval, start)
        else:
            ordered = self._sorted()
            heads = [next(rows, None) for rows in ordered]
            first = min((head[1] for head in heads if head), default=0)
            ordered = [chain((head,), rows) if head else rows for head, rows in zip(heads, ordered, strict=True)]
            pace = FilePace(options.speed or 1, first, options.start)  # type: ignore[arg-type]
        self._save()
        due = merge(*(pace.due(rows, place) for place, rows in enumerate(ordered)))
        if options.clock == "virtual":
            return due, lambda _: 0.0
        ahead = max(0, options.start - _now()) if options.start is not None else 0
        began = time.monotonic() + ahead / 1000
        return due, lambda event_time: began + pace.seconds_from_first(event_time)

    def _file_order(self, category: str) -> Iterator[CsvRow]:
        file, limit = self._files[category], self._options.limit
        rows = file.rows(self._rejects[category])
        if self._options.loop:
            rows = _endless(rows, file)
        return islice(rows, limit)

    def _sorted(self) -> list[Iterator[CsvRow]]:
        folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="sort-", dir=self._folder))
        console.print("sorting by the file's own time …")
        return [
            sorted_by_time(
                self._until_stopped(file.rows(self._rejects[category])),
                self._options.limit,
                Path(folder),
                str(place),
            )
            for place, (category, file) in enumerate(self._files.items())
        ]

    def _until_stopped(self, rows: Iterator[CsvRow]) -> Iterator[CsvRow]:
        for row in rows:
            if self._stop.is_set():
                return
            yield row

    def _share_read(self, category: str) -> Callable[[], float | None]:
        options, file = self._options, self._files[category]
        size = max(file.path.stat().st_size, 1)

        def share() -> float | None:
            if options.limit:
                return self._in_flight.sent[category] / options.limit
            return None if options.loop or options.speed else file.position / size

        return share

    def _count(self) -> None:
        if self._manifest:
            self._manifest.rows = {
                c: RowCounts(
                    sent=self._in_flight.sent[c],
                    confirmed=self._in_flight.confirmed[c],
                    rejected=self._rejects[c].count,
                    resent=self._publisher.resent[c],
                )
                for c in self._files
            }

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._manifest and self._folder:
            self._manifest.save(self._home)


def _endless(first_pass: Iterator[CsvRow], file: CsvRows) -> Iterator[CsvRow]:
    row = None
    for row in first_pass:
        yield row
    while row is not None:
        # The first pass has reported what does not fit.
        yield from file.rows(lambda *_: None)


def _source(path: Path) -> Source:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(file=path.resolve(), sha256=digest, size=path.stat().st_size)


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Have the first Ctrl-C or SIGTERM set ``stop``, and a second one end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        console.print("stopping: waiting for confirmations (once more to end at once)")

    before: dict[int, Any] = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
