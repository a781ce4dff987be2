"""What Prometheus is told of a running replay: read, when it asks, from what is counted anyway. A row costs nothing."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_replayer.sender import Sender
from streamproof.core.errors import StreamproofError
from streamproof.core.run import RowCounts

_PREFIX = "streamproof_replayer_"
_MOST_CATEGORIES = 100
"""Of more there is only the sum, without a category: each would be half a dozen series for Prometheus to keep."""
_Family = CounterMetricFamily | GaugeMetricFamily


@contextmanager
def metrics_page(address: str, port: int) -> Iterator[CollectorRegistry]:
    """Serve over HTTP what gets registered; the page is empty until then.

    Raises:
        StreamproofError: this machine has no such address, or its port is taken.

    """
    registry = CollectorRegistry()
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise StreamproofError(f"--metrics {address}:{port}: {error.strerror}; choose another port") from error
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayMetrics(Collector):
    """The metrics of one run, read at each scrape.

    Attributes:
        counts: the rows of each category, up to now.
        is_connected: whether the MQTT connection stands.
        is_timed: whether rows are due by the clock on the wall.

    """

    run: str
    counts: Callable[[], Mapping[str, RowCounts]]
    sender: Sender
    is_connected: Callable[[], bool]
    is_timed: bool

    def collect(self) -> Iterator[Metric]:
        """Read everything as it is now."""
        rows, sender, in_flight = self.counts(), self.sender, self.sender.in_flight

        def each(kind: type[_Family], name: str, text: str, value: Callable[[str], float]) -> Metric:
            family = kind(_PREFIX + name, text, labels=("run", "category"))
            if len(rows) > _MOST_CATEGORIES:
                family.add_metric((self.run, ""), sum(map(value, rows)))
                return family
            for category in rows:
                family.add_metric((self.run, category), value(category))
            return family

        def whole(name: str, text: str, value: float) -> Metric:
            family = GaugeMetricFamily(_PREFIX + name, text, labels=("run",))
            family.add_metric((self.run,), value)
            return family

        counter, gauge = CounterMetricFamily, GaugeMetricFamily
        yield each(counter, "rows_sent", "Rows sent, each counted once.", lambda c: rows[c].sent)
        yield each(counter, "rows_confirmed", "Rows whose arrival is confirmed.", lambda c: rows[c].confirmed)
        yield each(counter, "rows_resent", "Rows sent again, each time counted.", lambda c: rows[c].resent)
        yield each(counter, "rows_rejected", "Rows that do not fit the contract.", lambda c: rows[c].rejected)
        yield each(
            gauge,
            "rows_in_flight",
            "Rows sent and not yet confirmed.",
            lambda c: max(0, in_flight.sent[c] - in_flight.confirmed[c]),  # both may move meanwhile
        )
        yield whole("connected", "Whether the MQTT connection stands, 1 or 0.", self.is_connected())
        if sender.low_watermark is not None:
            text = "Event time up to which every row of the run is confirmed."
            yield whole("low_watermark_timestamp_seconds", text, sender.low_watermark / 1000)
        if sender.sent_until is not None:
            text = "Event time of the newest row that was sent."
            yield whole("newest_row_timestamp_seconds", text, sender.sent_until / 1000)
        if self.is_timed:
            yield whole("due_lag_seconds", "For how long the next row has been due.", sender.seconds_late())
