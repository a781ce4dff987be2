"""A whole replay: files in, messages out, and the manifest that says what was sent and what is confirmed."""

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from edge_replayer.csv_rows import CsvRows
from edge_replayer.edges import Edges
from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from edge_replayer.options import ReplayOptions
from edge_replayer.payload import Payloads
from edge_replayer.progress import RunProgress
from edge_replayer.publisher import MqttPublisher, StandardOutput
from edge_replayer.rejects import Rejects
from edge_replayer.resume import SORT_FOLDER, FilesAsTheyWere, take_over
from edge_replayer.schedule import Schedule, now_ms
from edge_replayer.sender import Sender
from edge_replayer.sent_file import SentFile
from streamproof.core.brokers import kafka_at
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.known_runs import KnownRuns
from streamproof.core.message import BEFORE_ALL_TIME
from streamproof.core.nodes import missing_nodes
from streamproof.core.run import MANIFEST, RowCounts, Run, manifest_path, manifests, new_run_id, some_of, source_of
from streamproof.core.settings import HomeSettings, KafkaSettings, MqttSettings, NifiSettings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SAVE_EVERY = 2.0
_MOST_OF_THE_TIME = 0.05
"""Share of the time that counting and saving may take, however many categories there are."""
_NOTE_SECONDS = 5.0
_MOST_SHOWN = 20  # categories whose rejected lines are shown
_QUIET, _COMPLAIN_EVERY = 10.0, 30.0  # seconds
_JOIN_SECONDS = 0.2


def replay(
    options: ReplayOptions,
    home: HomeSettings | None = None,
    mqtt: MqttSettings | None = None,
    stop: threading.Event | None = None,
    kafka: KafkaSettings | None = None,
) -> Run:
    """Replay CSV files and return the run's manifest, as it was saved.

    Delivery: at least once. A row counts as confirmed when Kafka has it; what stays unconfirmed is sent again, and the
    run is ``finished`` when all of it, the end marks included, is confirmed. A run whose process is killed goes on with
    ``resume``. ``stop`` and Ctrl-C end the run early: what was sent is confirmed, the end mark sent, and the run's
    state is ``stopped``. SIGTERM, with which a machine that shuts down ends its processes, only interrupts it: without
    an end mark, so that ``resume`` goes on. Where several edges send the run, each one that ends early only interrupts
    it: the end is marked when all edges have sent all of their rows.

    Raises:
        UsageError: a file, a category or the run's id cannot be used; also where Kafka knows such a run.
        StreamproofError: the broker cannot be reached or refuses, no row fits, or, if strict, one does not; or a file
            has changed meanwhile.
        OSError: the run's folder cannot be written; what was sent until then ``resume`` goes on with.

    """
    home, run = home or HomeSettings(), options.run or new_run_id()
    for edge in options.edges:
        manifest_path(run, home, edge)  # refuses what cannot be a name, also another edge's
    _refuse_known(run, home, options.edge)
    return _run(_Replay(run, options, home, mqtt or MqttSettings(), kafka or KafkaSettings()), stop)


def resume(  # noqa: PLR0917 - what to go on with, and what is not known from the run
    run: str,
    home: HomeSettings | None = None,
    mqtt: MqttSettings | None = None,
    stop: threading.Event | None = None,
    in_flight: int = 50_000,
    metrics: tuple[str, int] | None = None,
    files: Mapping[str, Path] | None = None,
    kafka: KafkaSettings | None = None,
    edge: str | None = None,
    expelled: bool = False,
) -> Run:
    """Go on with a run that ended before its end was marked: killed, or stopped with unconfirmed rows.

    The rows behind those that are known to be confirmed are sent, with the numbers and event times that they have by
    the manifest. Those that the ended process sent already may reach Kafka twice: counted as ``resent``. ``files`` has
    the new places of those that have moved. ``edge`` says which one goes on, where several send the run; one that is
    finished says so once more, in case that another has not heard it. With ``expelled`` that one is given up: what it
    had sent is sent again until it is confirmed, no other row follows, and the other edges wait for it no longer. This
    ends as soon as they can know it.

    Raises:
        UsageError: there is no such run, it has ended, another process sends it, or a file has changed.
        StreamproofError: the broker cannot be reached or refuses, or a file has changed meanwhile.
        OSError: as ``replay``.

    """
    home = home or HomeSettings()
    before, sent, options = take_over(run, home, in_flight, files or {}, edge, expelled=expelled)
    options = replace(options, metrics=metrics)
    with closing(sent):
        return _run(_Replay(run, options, home, mqtt or MqttSettings(), kafka or KafkaSettings(), before, sent), stop)


def _run(it: "_Replay", stop: threading.Event | None) -> Run:
    it.stop = stop or it.stop
    try:
        with it.cleanup, _signals(it):
            return it.run()
    except OSError as error:
        if it.may_go_on():
            error.add_note(f"after that `{it.resumption}` goes on")
        raise


def _refuse_known(run: str, home: HomeSettings, edge: str | None) -> None:
    # A folder without a manifest is what a process left that was killed before it sent anything.
    manifest, of_one_edge = manifest_path(run, home, edge), manifest_path(run, home)
    if not edge and not manifest.exists() and manifests(run, home):
        raise UsageError(
            f"the run {run!r} exists already, of several edges ({manifest.parent}): choose another id, or none"
        )
    if manifest.exists() or of_one_edge.exists():
        how = f"--resume {run}" + (f" --edge {edge}" if edge else "")
        raise UsageError(f"the run {run!r} exists already ({manifest.parent}): choose another id, none, or {how}")


class _Replay:
    def __init__(  # noqa: PLR0917 - a run's makings, and where another process left it
        self,
        run: str,
        options: ReplayOptions,
        home: HomeSettings,
        mqtt: MqttSettings,
        kafka: KafkaSettings,
        before: Run | None = None,
        sent: SentFile | None = None,
    ) -> None:
        self.id, self._options, self._home, self._kafka = run, options, home, kafka
        self.cleanup, self.stop = ExitStack(), threading.Event()
        self.is_interrupted = False
        self._before = {c: before.rows[c] if before else RowCounts() for c in options.files}
        self._manifest, self._sent = before, sent
        self._saved = self._complain_at = self._tick_at = self._name_at = 0.0
        self._folder = None if options.to == "stdout" else manifest_path(run, home, options.edge).parent
        self._edges = self._known_edges(before)
        self._known: KnownRuns | None = None
        if self._folder and options.confirm == "kafka":
            self._known = KnownRuns(options.contract, mqtt, kafka)
            if not before:
                for noted, told in self._notes().items():
                    self._known.refuse(noted, told)
        self._files = {category: CsvRows(options.contract, path) for category, path in options.files.items()}
        self._as_they_were = FilesAsTheyWere(options.files)
        confirmed_to = {category: counts.confirmed_to for category, counts in self._before.items()}
        self._in_flight = InFlight(list(self._files), options.in_flight, confirmed_to=confirmed_to)
        with self.cleanup as on_error:
            self._metrics = self._open_metrics()
            self._publisher = self._connect(mqtt)
            self._rejects = self._open_run_folder()
            self.cleanup = on_error.pop_all()

    def run(self) -> Run:
        """Send everything; the manifest is right whatever happens on the way."""
        self._manifest = manifest = self._manifest or self._new_manifest()
        manifest.state = "running"
        for file in self._files.values():
            if doubt := file.doubt():
                console.print(doubt, markup=False, soft_wrap=True)
        try:
            self._save()
            manifest.state = "finished" if self._send(manifest) else "stopped"
        except BaseException:
            manifest.state = "stopped"
            raise
        finally:
            self._count()
            self._save()
            if self._sent:
                self._sent.remove()
        return manifest

    @property
    def resumption(self) -> str:
        """The command with which the run goes on."""
        return self._manifest.resumption if self._manifest else f"streamproof replay --resume {self.id}"

    def may_go_on(self) -> bool:
        """Whether ``resume`` would go on with what was sent."""
        is_known = self._folder is not None and (self._folder / MANIFEST).exists()
        return is_known and self._manifest is not None and not self._manifest.ended

    def _free_id(self) -> None:
        """Remove the folder of a run that has no manifest: nothing was sent, so its id stays free."""
        if self._folder and not (self._folder / MANIFEST).exists():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open_metrics(self) -> "CollectorRegistry | None":
        if not self._options.metrics:
            return None
        from edge_replayer.metrics import metrics_page

        return self.cleanup.enter_context(metrics_page(*self._options.metrics))

    def _connect(self, mqtt: MqttSettings) -> MqttPublisher | StandardOutput:
        publisher: MqttPublisher | StandardOutput
        if self._options.to == "stdout":
            publisher = StandardOutput(self._in_flight)
        else:
            options = self._options
            publisher = MqttPublisher(
                options.contract.name, self.id, self._in_flight, mqtt, confirm=options.confirm, edges=self._edges
            )
        self.cleanup.callback(publisher.close)
        return publisher

    def _open_run_folder(self) -> dict[str, Rejects]:
        folder = self._folder
        if folder and not self._sent:
            folder.mkdir(parents=True, exist_ok=True)
            self._sent = SentFile(folder, self._files)
            self.cleanup.callback(self._sent.close)
            _refuse_known(self.id, self._home, self._options.edge)  # another process may have been quicker
            self.cleanup.callback(self._free_id)
        rejects = {
            category: Rejects(
                file.path,
                folder / f"rejects-{category}.csv" if folder else None,
                strict=self._options.strict,
                shows=place < _MOST_SHOWN,
            )
            for place, (category, file) in enumerate(self._files.items())
        }
        for each in rejects.values():
            self.cleanup.callback(each.close)
        return rejects

    def _new_manifest(self) -> Run:
        options = self._options
        return Run(
            run=self.id,
            contract=options.contract,
            clock=options.clock,
            pace="file" if options.interval is None else "interval",
            interval=options.interval,
            speed=options.speed,
            start=now_ms() if options.start is None and options.interval is not None else options.start,
            limit=options.limit,
            loop=options.loop,
            strict=options.strict,
            allow_empty=options.allow_empty,
            confirm=options.confirm,
            batch_rows=options.batch_rows,
            batch_ms=options.batch_ms,
            sources={category: source_of(path) for category, path in options.files.items()},
            rows={category: RowCounts() for category in options.files},
            created=datetime.now(UTC),
            edges=options.edges,
            edge=options.edge,
            incarnation=self._edges.incarnation if self._edges else "",
        )

    def _known_edges(self, before: Run | None) -> Edges | None:
        options = self._options
        if not options.edge:
            return None
        return Edges(
            options.edge,
            options.edges,
            options.plan,
            list(options.files),
            incarnation=before.incarnation if before else "",
            members=before.members if before else "",
            joined=before is not None and before.joined,
            expelled=before is not None and before.expelled,
        )

    def _notes(self) -> dict[str, str]:
        """Return what is noted in Kafka of the run, and what its edges were told."""
        edges = self._edges
        return {self.id: edges.plan, f"{self.id}/{edges.name}": ""} if edges else {self.id: ""}

    def _joins(self, manifest: Run) -> bool:
        """Wait until all edges of the run are there, where it has several; return False when stopped before."""
        if not (edges := self._edges):
            return True
        began, named = time.monotonic(), list[str]()
        while not edges.joined:
            self._publisher.check()
            said = edges.say(BEFORE_ALL_TIME)
            if edges.members == manifest.members:
                self._publisher.say(said)
            else:  # on disk first: once another edge has heard it, no other may be said
                manifest.members = edges.members
                self._save()
            if time.monotonic() > began + 1 and (waits_for := edges.waits_for) != named:
                named = waits_for
                self._say(f"waiting for {_edges(named)} of the run {self.id}: no row is sent before all are there")
            if self.stop.wait(_JOIN_SECONDS):
                self._say(f"stopped before all edges were there: `{self.resumption}` goes on")
                return False
        if not manifest.joined:
            manifest.joined, manifest.members = True, edges.members
            self._save()
        self._publisher.say(edges.say(BEFORE_ALL_TIME))
        return True

    def _send(self, manifest: Run) -> bool:
        progress = self.cleanup.enter_context(RunProgress({c: self._share_read(c) for c in self._files}))

        def tick() -> None:
            self._complain_when_quiet()
            if (began := time.monotonic()) < self._tick_at:
                return
            self._count()
            progress.show(manifest.rows)
            if began >= self._saved + _SAVE_EVERY:
                self._save()
            ended = time.monotonic()
            self._tick_at = ended + (ended - began) / _MOST_OF_THE_TIME

        def before_end(last: int) -> None:
            self._count()
            manifest.end = last
            try:
                self._save()
            except OSError:
                manifest.end = None  # it is not marked: the run can go on
                raise

        folder = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory(prefix=SORT_FOLDER, dir=self._folder)))
        schedule = Schedule(self._options, manifest.start, self._files, self._rejects, self.stop, folder)
        rows, until = schedule.rows(
            {category: counts.confirmed_to for category, counts in self._before.items()},
            {category: counts.sent for category, counts in self._before.items()} if manifest.expelled else None,
        )
        if not self._joins(manifest):
            return False
        if manifest.began is None:
            manifest.began = max(now_ms(), self._options.start or 0)
            self._save()
        sender = Sender(
            payloads=Payloads(self.id, self._options.contract, list(self._files)),
            publisher=self._publisher,
            in_flight=self._in_flight,
            batch_rows=min(self._options.batch_rows, self._options.in_flight),
            batch_ms=self._options.batch_ms,
            moment=schedule.moments(manifest.began),
            stop=self.stop,
            tick=tick,
            before_send=self._note_sent,
            before_end=before_end,
            sent_until=until,
            edges=self._edges,
        )
        if self._metrics:
            from edge_replayer.metrics import ReplayMetrics

            self._metrics.register(
                ReplayMetrics(
                    run=self.id,
                    counts=self._rows,
                    sender=sender,
                    is_connected=self._publisher.is_connected,
                    is_timed=self._options.clock == "wall",
                )
            )
        try:
            is_all_sent = sender.send(rows)
            if is_all_sent:
                self._as_they_were.refuse_changed(manifest)
        except StreamproofError:
            # A strict run met a bad row, or a file broke off or changed: what is sent stays sent, so its end is marked.
            self.stop.set()
            manifest.state = "stopped"
            sender.finish(mark_end=self._may_end())
            raise
        if not is_all_sent:
            manifest.state = "stopped"
        is_confirmed = sender.finish(mark_end=self._may_end())
        self._count()
        progress.show(manifest.rows, is_last=True)
        if manifest.expelled:
            return is_all_sent and is_confirmed
        if not manifest.ended and any(self._in_flight.sent.values()):
            self._say(f"stopped without an end mark: `{self.resumption}` goes on")
        if is_all_sent and not any(self._in_flight.sent.values()):
            if not any(rejects.count for rejects in self._rejects.values()):
                raise StreamproofError("these files hold no row: nothing was sent")
            raise StreamproofError("no row of these files fits the contract: nothing was sent (see the rejects)")
        return is_all_sent and is_confirmed

    def _note_sent(self, message: Message) -> None:
        if self._known:
            # Beside the sending: where Kafka hangs, the rows wait for it soon enough.
            noting = threading.Thread(target=_note, args=(self._known, self._notes()), daemon=True)
            self._known = None
            noting.start()
            self.cleanup.callback(noting.join, _NOTE_SECONDS)
        if self._sent:
            self._sent.write(message.category, max(message.last, self._before[message.category].sent))

    def _may_end(self) -> bool:
        """Whether nothing is to come, also of what an earlier process sent and nobody confirmed.

        Of several edges each has to send all of its rows: one that was stopped is to go on.
        """
        is_stopped = self.stop.is_set() and (self.is_interrupted or self._edges is not None)
        return not is_stopped and all(self._in_flight.sent[c] >= counts.sent for c, counts in self._before.items())

    def _complain_when_quiet(self) -> None:
        self._name_silent_edges()
        quiet, now = self._in_flight.quiet_seconds(), time.monotonic()
        if quiet < _QUIET:
            self._complain_at = 0.0
        elif now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_EVERY
            console.print(
                f"nothing was confirmed for {quiet:.0f} s; what is unconfirmed is kept and sent again. "
                f"Does the flow run{missing_nodes(NifiSettings())}, and is Kafka there, at {kafka_at(self._kafka)}? "
                f"`streamproof flow status {self._options.contract.name}`, `streamproof status`",
                markup=False,
                soft_wrap=True,
            )

    def _name_silent_edges(self) -> None:
        """Say now and then which edges hold the run back, as they say nothing."""
        now = time.monotonic()
        if self._edges and now >= self._name_at and (silent := self._edges.silent(_QUIET)):
            self._name_at = now + _COMPLAIN_EVERY
            self._say(
                f"{_edges(silent)} said nothing for {_QUIET:.0f} s: windows wait, as rows from there may be to come. "
                f"Where the process has ended: `streamproof replay --resume {self.id} --edge EDGE`; where the edge is "
                f"given up for ever: `streamproof expel {self.id} EDGE`"
            )

    def _say(self, text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

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
            self._manifest.rows = self._rows()

    def _rows(self) -> dict[str, RowCounts]:
        return {c: self._counts(c) for c in self._files}

    def _counts(self, category: str) -> RowCounts:
        before, sent = self._before[category], self._in_flight.sent[category]
        again = min(sent, before.sent) - before.confirmed_to
        return RowCounts(
            sent=max(sent, before.sent),
            confirmed=self._in_flight.confirmed[category],
            confirmed_to=self._in_flight.confirmed_to(category),
            rejected=self._rejects[category].count,
            resent=before.resent + again + self._in_flight.resent[category],
        )

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._manifest and self._folder:
            self._manifest.save(self._home)


def _edges(names: list[str]) -> str:
    return f"the edge{'s' * (len(names) > 1)} {some_of(names)}"


def _note(known: KnownRuns, notes: Mapping[str, str]) -> None:
    for run, told in notes.items():
        known.note(run, told)


@contextmanager
def _signals(it: _Replay) -> Iterator[None]:
    """Have the first Ctrl-C or SIGTERM stop the replay, and a second one end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if it.stop.is_set():
            raise KeyboardInterrupt
        it.is_interrupted = number == signal.SIGTERM
        it.stop.set()
        console.print("stopping: waiting for confirmations (once more to end at once)")

    before: dict[int, Any] = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
