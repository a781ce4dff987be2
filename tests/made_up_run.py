"""A run of sales in cities that no server has seen: its file, its true answers, and answers as if Flink wrote them."""

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import duckdb
from waiting import until
from werkzeug.serving import WSGIRequestHandler, make_server

from streamproof.core.alert_rule import EVENT_COLUMNS
from streamproof.core.contract import parse_contract
from streamproof.core.question import parse_question
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.dashboard.page import make_page
from streamproof.report import Drawings, write_run_report
from validation.alerts import compute_alerts
from validation.answers import Answers, alerts_number, results_table, truth_table
from validation.comparison import compare
from validation.delivery import RowTotals
from validation.kafka_records import _TABLES, Results
from validation.live.live_verdict import LiveVerdict
from validation.live.reader import Picture, Reader
from validation.live.whole_run import asked_of, note_asked
from validation.stages import AskedBy
from validation.verdict import QuestionVerdict, Verdict

CITIES = {
    "Tokyo": (35.69, 139.69), "Delhi": (28.65, 77.22), "Shanghai": (31.22, 121.46), "São Paulo": (-23.55, -46.63),
    "Mexico City": (19.43, -99.13), "Cairo": (30.06, 31.25), "Mumbai": (19.07, 72.88), "İstanbul": (41.01, 28.95),
    "New York": (40.71, -74.01), "Lagos": (6.45, 3.39), "Paris": (48.85, 2.35), "London": (51.51, -0.13),
    "Sydney": (-33.87, 151.21), "Nairobi": (-1.28, 36.82), "Lima": (-12.04, -77.03), "Köln": (50.93, 6.95),
}  # fmt: skip
SALES = parse_contract(
    {
        "name": "sales",
        "fields": {
            "city": {"type": "text"},
            "lat": {"type": "decimal", "scale": 2},
            "lon": {"type": "decimal", "scale": 2},
            "price": {"type": "decimal", "scale": 2},
        },
    },
    "test",
)
WINDOW, STEP, ROWS = 30_000, 100, 3_000
"""Milliseconds: of a window, between two rows; and how many rows: ten windows."""

_QUESTION = """-- Where is most sold?
-- stream = "sales"
-- window = "tumbling 30s"
-- key = ["city"]
-- alert = "turnover > 2500"
-- page = { value = "turnover", latitude = "lat", longitude = "lon", draw = ["map", "bars", "table"] }
SELECT window_start, window_end, city, SUM(price) AS turnover, COUNT(*) AS sales, MIN(lat) AS lat, MIN(lon) AS lon
FROM windowed GROUP BY window_start, window_end, city
"""


_BATCH = """-- What does each city sell in all?
-- stream = "sales"
-- run = "batch"
-- window = "whole run"
-- key = ["city"]
-- page = { weight = "turnover" }
SELECT window_start, window_end, city, SUM(price) AS turnover FROM windowed GROUP BY window_start, window_end, city
"""


def rows_of_cities(seed: int = 1) -> Iterator[str]:
    """Sales of which each city has its high time, so that the ranks change."""
    chance, names = random.Random(seed), list(CITIES)
    for number in range(ROWS):
        when = number / ROWS
        city = chance.choices(names, [1 + 12 * max(0, 1 - 4 * abs(when - each / 16)) for each in range(16)])[0]
        yield f"{city},{CITIES[city][0]},{CITIES[city][1]},{chance.randrange(100, 9900) / 100:.2f}\n"


class MadeUpRun:
    """The run, what a page is told of it, and the means to let answers arrive."""

    def __init__(self, db: duckdb.DuckDBPyConnection, folder) -> None:
        text = "city,lat,lon,price\n" + "".join(rows_of_cities())
        file = folder / "World.csv"
        file.write_text(text)
        source = Source(file=file, sha256=hashlib.sha256(text.encode()).hexdigest(), size=file.stat().st_size)
        self.run = Run(
            run="made-up", contract=SALES, clock="virtual", pace="interval", interval=Fraction(STEP), start=0,
            batch_rows=1, batch_ms=1, sources={"World": source}, rows={"World": RowCounts(sent=ROWS, confirmed=ROWS)},
            created=datetime(2024, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        self.question = parse_question("sales_by_city", _QUESTION, "sales_by_city.sql")
        db.execute(_TABLES)
        Results(db, self.run, self.question, 0)
        Results(db, self.run, self.question, alerts_number(0), EVENT_COLUMNS)
        self.db, self._jobs = db, [AskedBy(job="job", question=self.question, of_run=True)]
        self._verdict = LiveVerdict(db, self.run, [self.question])
        home = HomeSettings(home=folder)
        self.run.save(home)
        note_asked(self.run.run, parse_question("in_all", _BATCH, "in_all.sql"), home)
        self.reader = Reader(self.run.run, home, KafkaSettings())
        self.reader.database = db.cursor
        until(
            lambda: self.judge() or (self.reader.picture.questions and not self._verdict.is_computing),
            look=0.05,
            seconds=60,
        )

    def write(self, first: int, last: int, *, wrong: str = "") -> None:
        """Write the true answers of the windows so many to so many, one of them wrong: that of a city in the last."""
        ends = f"window_end > make_timestamp_ms({first * WINDOW}) AND window_end <= make_timestamp_ms({last * WINDOW})"
        wrong_one = f"city = '{wrong}' AND window_end = make_timestamp_ms({last * WINDOW})"
        self._insert(
            results_table(0),
            f"SELECT * REPLACE (turnover + CASE WHEN {wrong_one} THEN 1 ELSE 0 END AS turnover) FROM truth_0 "
            f"WHERE {ends}",
        )
        compute_alerts(self.db, self.question, self.run.run, truth_table(0), "alerts")
        self._insert(results_table(alerts_number(0)), f"SELECT * FROM alerts WHERE {ends}")
        self.look()

    def _insert(self, table: str, select: str) -> None:
        self.db.execute(
            f"INSERT INTO {table} BY NAME SELECT *, 'job' AS _job, {WINDOW} AS _size, {WINDOW} AS _slide, "
            f"'sliding' AS _kind, true AS _whole, 1 AS _written_at FROM ({select})"
        )

    def judge(self) -> None:
        """Compare what was written with the truth, and tell the page."""
        self._verdict.step(self.run, self._jobs, is_over=False)
        self._verdict.answer_whole_run(self.run, asked_of(self.run, self.reader._home))
        self.look()

    def look(self) -> None:
        """Tell the page what is known now."""
        read = self.db.execute("SELECT count(*) FROM results_0").fetchone()[0]
        self.reader.picture = Picture(
            run=self.run, problem=None, questions=self._verdict.questions(), results_read=read,
            event_time=ROWS * STEP, batch=self._verdict.batch,
        )  # fmt: skip

    def write_report(self, path: Path) -> None:
        """Write the run's report, judged as it would be at its end."""
        answers, drawings = Answers(self.question, "job", 0), Drawings()
        counts = compare(self.db, answers, into="compared_0")
        drawings.draw(self.db, [answers])
        judged = QuestionVerdict(
            **counts.model_dump(), title=self.question.title, job="job", size=WINDOW, slide=WINDOW, kind="sliding",
            key=("city",), columns=("turnover",), not_right=[],
        )  # fmt: skip
        verdict = Verdict(
            run="made-up", proven=False, reasons=["one answer is wrong"], state="running", rows=RowTotals.of({}),
            checked_at=datetime.now(UTC), questions={"sales_by_city": judged}, categories={}, unreadable=0,
        )  # fmt: skip
        write_run_report(verdict, self.reader._home, drawings, path)

    def close(self) -> None:
        self._verdict.close()


class _Quiet(WSGIRequestHandler):
    def log_request(self, code="-", size="-"):
        """Say nothing: a page asks each second."""


@contextmanager
def made_up_page(folder) -> Iterator[tuple[MadeUpRun, str]]:
    """Serve the page of a made-up run of which nine windows of ten are there; one answer in the eighth is wrong."""
    with duckdb.connect() as db:
        made_up = MadeUpRun(db, folder)
        made_up.write(0, 8, wrong="Lagos")
        made_up.write(8, 9)
        made_up.judge()
        page = make_page(made_up.reader, dict).server
        server = make_server("127.0.0.1", 0, page, threaded=True, request_handler=_Quiet)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made_up, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
            made_up.close()
