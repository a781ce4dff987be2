"""A sink whose target is a database, put together: what is read, what it is made into, and where it goes."""

import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from streamproof.core.command import console
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from streamproof.sinks.kept import LIVE, Kept
from streamproof.sinks.sink import Limits, Sink
from streamproof.sinks.tables import Catalogue

LIMITS = Limits(rows=20_000, seconds=1.0)


def store(kept: Kept, run: Run | None, stop: threading.Event, is_over: Callable[[], bool] = lambda: False) -> int:
    """Store a run, or all runs as they come, until ``stop`` is set or all is stored.

    Args:
        kept: where.
        run: the run; None for all.
        stop: ends it; what is being stored then is still stored.
        is_over: whether no more will come.

    Returns:
        How many records were stored.

    Raises:
        UsageError: the database cannot be used.
        FencedError: another sink writes there.
        StreamproofError: a value does not fit its column, or records are gone that were never read.

    """
    catalogue = Catalogue(run, kept.rows)
    with closing(kept.open(run.run if run else LIVE, catalogue, kept.note)) as target:
        if run:
            kept.note(run.run)
        console.print(f"storing in {target.name}", markup=False, soft_wrap=True)
        sink: Sink[Any] = Sink(
            target,
            catalogue.topics,
            KafkaSettings(),
            limits=LIMITS,
            since=run.created if run else None,
            only=json.dumps(run.run).encode() if run else b"",
        )
        return sink.run(stop, is_over)
