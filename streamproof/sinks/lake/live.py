"""The lake of all streams: each that has runs on this machine is stored, as long as the servers run."""

import gc
import threading
from collections.abc import Callable, Mapping

from streamproof.core.command import console
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.run import load_run, runs_here
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.sinks.kept import Kept
from streamproof.sinks.lake.catalogue import LakeSettings, name_of, open_catalogue
from streamproof.sinks.sink import Limits, Sink
from streamproof.stack.live_sinks import LAKE

LIMITS = Limits(rows=150_000, seconds=15.0)
"""When a commit is made: so many records, or seconds after the first of them."""

_LOOK_S, _PAUSE_S = 3.0, 10.0


def store_stream(
    contract: Contract, stop: threading.Event, is_over: Callable[[], bool] = lambda: False, limits: Limits = LIMITS
) -> int:
    """Store a stream's rows and dead letters until ``stop`` is set, or all is stored; return how many records.

    Raises:
        UsageError: the lake's tables have other columns than the contract, or a setting cannot be used.
        FencedError: another sink writes there.
        StreamproofError: the catalogue does not answer, or records are gone that were never read.

    """
    home, settings = HomeSettings(), LakeSettings()
    catalogue, name = open_catalogue(settings, home), name_of(settings, home)
    from streamproof.sinks.lake.target import LakeTarget

    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # it would look again and again at records, none of which refers to another
    target = LakeTarget(name, catalogue, contract, KafkaSettings(), Kept(kind=LAKE).note)
    topics = [contract.topics.rows, contract.topics.dead_letters]
    stored = Sink(target, lambda: topics, KafkaSettings(), limits=limits).run(stop, is_over)
    if is_over():
        target.look_after()
    return stored


def store_all(stop: threading.Event) -> None:
    """Store every stream that has a run here, each in a thread, until ``stop`` is set.

    One that cannot be stored is tried again and again; the others go on meanwhile.
    """
    stops: dict[str, threading.Event] = {}
    threads: list[threading.Thread] = []

    def work(contract: Contract) -> None:
        while True:
            own = stops[contract.name] = threading.Event()  # a sink that ends sets it
            if stop.is_set():
                return
            try:
                store_stream(contract, own)
            except StreamproofError as error:
                console.print(f"{contract.name}: {error}: trying again", markup=False, soft_wrap=True)
                stop.wait(_PAUSE_S)

    try:
        while not stop.is_set():
            for name, contract in _streams().items():
                if name not in stops:
                    stops[name] = threading.Event()
                    threads.append(threading.Thread(target=work, args=(contract,)))
                    threads[-1].start()
            stop.wait(_LOOK_S)
    finally:
        stop.set()
        for own in list(stops.values()):
            own.set()
        for thread in threads:
            thread.join()


def _streams() -> Mapping[str, Contract]:
    """Return the contracts of the streams that have runs here, by their names: that of the newest run of each."""
    home = HomeSettings()
    contracts = [load_run(run, home).contract for run in runs_here(home)]
    return {contract.name: contract for contract in contracts}
