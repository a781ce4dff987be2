"""What the answers to a question say: the newest window, lines over time, changes, alerts.

A question's *key* tells the answers of a window apart. Of its columns of numbers one is drawn, its *value*, and one
says how much there is to an answer, its *weight*. Its file names both (``page``), else they are the first such column.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import duckdb

from streamproof.core.batch import NUMBER
from streamproof.core.sql_quoting import literal, quoted
from validation.answers import Answers, alerts_of, judged_table, truth_table
from validation.comparison import AnswerCounts, is_equal, is_same_answer

POINTS = 100
"""Points of a line at most; of a longer series each point stands for several windows."""

BINS = 20

Key = tuple[str | None, ...]
"""The values of a question's key, as text."""


def bin_width(bounds: tuple[float, float]) -> float:
    """Return how wide each of ``BINS`` equal parts of the bounds is; 1 where the bounds are one number."""
    return (bounds[1] - bounds[0]) / BINS or 1.0


class Point(NamedTuple):
    """The windows at a point of a line: the end of the last, milliseconds since the epoch; their values; how many."""

    end: int
    middle: float
    least: float
    greatest: float
    windows: int


class Mover(NamedTuple):
    """A key in a window: its weight, its value, and that in the window before that does not overlap (None: none)."""

    key: Key
    weight: float | None
    value: float | None
    before: float | None


class WindowSize(NamedTuple):
    """How much lies in the windows at a point: the end of the last, and of one window the answers and their weight."""

    end: int
    answers: float
    weight: float | None


class Mark(NamedTuple):
    """An answer among those with the greatest values of its window.

    Attributes:
        key: tells it apart.
        arrival: the number under which it was read.
        value: as it was written.
        label: what names it for people, where the question's file says so.
        latitude: of its place, degrees north; None where it has none.
        longitude: likewise, degrees east.

    """

    key: Key
    arrival: int
    value: Any
    label: str | None
    latitude: float | None
    longitude: float | None


class AlertSoFar(NamedTuple):
    """What became of an alert: its times are ends of windows, milliseconds since the epoch; None: that has not been.

    Attributes:
        state: the last that happened; one that is repeated still fires.
        key: whose it is.
        begin: of the window with which the breach began.
        fired: of that with which it began to fire.
        over: of that in which it was resolved, or withdrawn before it fired.
        repeats: how often it was told again.
        value: of the answer with which it fired.

    """

    state: str
    key: Key
    begin: int
    fired: int | None
    over: int | None
    repeats: int
    value: Any


class Table(NamedTuple):
    """Answers as they were written: the names of the columns, and the values of each answer."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class QuestionResults:
    """The answers of one job to one question.

    Args:
        db: a connection of the caller's own.
        answers: which ones.
        category: only of this one; None for all. It counts only where the category is part of the key.

    Attributes:
        key: the columns that tell the answers of a window apart.
        columns: the others.
        numbers: those of them that are numbers, and do not say where something is.
        value: the column that is drawn unless another is chosen; None where there are no numbers.
        weight: the column that says how much there is to an answer; None where there are no numbers.

    """

    def __init__(self, db: duckdb.DuckDBPyConnection, answers: Answers, category: str | None = None) -> None:
        self._db, self._window = db, answers.question.result_window
        question = answers.question
        self.key = question.key
        self._kinds = kinds = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE {answers.select}").fetchall()}
        self.columns = [
            name
            for name in kinds
            if not name.startswith("_") and name not in {"window_start", "window_end", *question.key}
        ]
        page = question.header.page
        places = {page.latitude, page.longitude}
        self.numbers = [name for name in self.columns if NUMBER.fullmatch(kinds[name]) and name not in places]
        first = next(iter(self.numbers), None)
        self.value = page.value if page.value in self.numbers else first
        self.weight = page.weight if page.weight in self.numbers else first
        self._page, self._number = page, answers.number
        self._alerts = alerts_of(answers) if question.header.alert else None
        of_category = f" WHERE category = {literal(category)}" if category and "category" in question.key else ""
        self._mine = f"(SELECT * FROM ({answers.select}){of_category})"

    def newest(self, closed_by: int) -> int | None:
        """Return the end of the newest window that ends no later than ``closed_by``, else of the first; or None.

        Both are milliseconds since the epoch.
        """
        found = self._db.execute(
            "SELECT epoch_ms(coalesce(max(window_end) FILTER (window_end <= make_timestamp_ms(?)), min(window_end))) "
            f"FROM {self._mine}",
            [closed_by],
        ).fetchone()
        return found[0] if found else None

    def search(self, begin: str, limit: int = 8) -> list[Key]:
        """Return the keys of which a value begins like that, those with most weight first."""
        if not self.key:
            return [()]
        begins = " OR ".join(f"starts_with(lower({quoted(name)}::VARCHAR), lower($begin))" for name in self.key)
        found = self._db.execute(
            f"""
            SELECT {self._key()} FROM {self._mine} WHERE $begin = '' OR {begins}
            GROUP BY {self._key()} ORDER BY {self._sum_of_weight()} DESC NULLS LAST, {self._key()} LIMIT {limit}
            """,
            {"begin": begin},
        ).fetchall()
        return [tuple(row) for row in found]

    def span(self, windows: int | None, closed_by: int) -> tuple[int, int] | None:
        """Return the ends of the first and the last window of the newest so many, or of all; None where there are none.

        Args:
            windows: how many; None for all.
            closed_by: the newest is the last that ends no later; milliseconds since the epoch, as is what is returned.

        """
        found = self._db.execute(
            f"SELECT epoch_ms(min(window_end)), epoch_ms(max(window_end)) FROM {self._mine}"
        ).fetchone()
        if found is None or found[0] is None:
            return None
        first, last = found
        if windows is None:
            return first, last
        last = self.newest(closed_by) or last
        return max(first, last - (windows - 1) * self._window.slide), last

    def series(self, key: Key, column: str, span: tuple[int, int]) -> list[Point]:
        """Return a column's values of a key over time, at ``POINTS`` points at most."""
        found = self._db.execute(
            f"""
            SELECT max(epoch_ms(window_end)), median(value), min(value), max(value), count(*)
            FROM (SELECT window_end, {_finite(column)} AS value FROM {self._mine} WHERE {self._is_key()})
            WHERE value IS NOT NULL AND epoch_ms(window_end) BETWEEN ? AND ?
            GROUP BY {self._place(span)} ORDER BY 1
            """,
            [*key, *span],
        ).fetchall()
        return [Point(*row) for row in found]

    def windows_a_point(self, span: tuple[int, int]) -> int:
        """Return for how many windows each point of a line stands."""
        slide = self._window.slide
        return -(-((span[1] - span[0]) // slide + 1) // POINTS)

    def distribution(self, column: str, bounds: tuple[float, float], window_end: int | None = None) -> list[int]:
        """Return how many answers have the column's value in each of ``BINS`` equal parts of the bounds.

        Args:
            column: a column of numbers.
            bounds: the least and the greatest value.
            window_end: of this window alone, milliseconds since the epoch; None for all.

        """
        found = dict(
            self._db.execute(
                f"""
                SELECT least({BINS - 1}, greatest(0, floor((value - ?) / ? + 1e-9)))::BIGINT AS bin, count(*)
                FROM (SELECT {_finite(column)} AS value FROM {self._mine}
                      WHERE ?::BIGINT IS NULL OR window_end = make_timestamp_ms(?))
                WHERE value IS NOT NULL GROUP BY bin
                """,
                [bounds[0], bin_width(bounds), window_end, window_end],
            ).fetchall()
        )
        return [found.get(each, 0) for each in range(BINS)]

    def bounds(self, column: str) -> tuple[float, float]:
        """Return the least and the greatest value of a column in any window."""
        value = _finite(column)
        found = self._db.execute(f"SELECT min({value}), max({value}) FROM {self._mine}").fetchone()
        return (found[0], found[1]) if found and found[0] is not None else (0.0, 1.0)

    def window(self, window_end: int, *, beside: str | None = None, limit: int = 10) -> Table:
        """Return the first answers of a window, those with most weight first, with key and columns.

        Args:
            window_end: milliseconds since the epoch.
            beside: a column of numbers of which the batch's value stands beside the stream's, and by how much the
                stream's is greater; None while the batch has not computed it.
            limit: how many answers at most.

        """
        columns = {name: f"o.{quoted(name)}" for name in (*self.key, *self.columns)}
        truth = ""
        if beside:
            stream, batch = (f"{side}.{quoted(beside)}" for side in "ot")
            equal = is_equal(beside, self._kinds[beside])
            columns |= {
                f"{beside} of the batch": batch,
                "difference": f"CASE WHEN {equal} THEN 0 ELSE {stream}::DOUBLE - {batch}::DOUBLE END",
            }
            truth = f"LEFT JOIN {truth_table(self._number)} t ON {is_same_answer(self.key)}"
        order = [f"o.{quoted(self.weight)} DESC NULLS LAST"] if self.weight else []
        order += [f"o.{quoted(name)}::VARCHAR" for name in self.key]
        found = self._db.execute(
            f"SELECT {', '.join(columns.values())} FROM {self._mine} o {truth} "
            f"WHERE o.window_end = make_timestamp_ms({window_end}) ORDER BY {', '.join(order) or '1'} LIMIT {limit}"
        )
        return Table(list(columns), found.fetchall())

    def alerts(self, limit: int = 10) -> list[AlertSoFar] | None:
        """Return what became of each alert: those that fire, those that are pending, then the newest of the others.

        None where the question has no alert.
        """
        if self._alerts is None:
            return None
        value = f"any_value({quoted(self.value)}) FILTER (alert_state = 'firing')" if self.value else "NULL"
        keys = ", ".join(f"{quoted(name)}::VARCHAR" for name in self.key)
        found = self._db.execute(
            f"""
            WITH alerts AS (
                SELECT [{keys}]::VARCHAR[] AS key, epoch_ms(min(alert_begin)) AS begin,
                       epoch_ms(min(window_end) FILTER (alert_state = 'firing')) AS fired,
                       epoch_ms(min(window_end) FILTER (alert_state IN ('resolved', 'withdrawn'))) AS over,
                       max(alert_number) AS repeats, {value} AS value
                FROM ({self._alerts.select}) GROUP BY alert_id, key
            )
            SELECT CASE WHEN over IS NULL THEN CASE WHEN fired IS NULL THEN 'pending' ELSE 'firing' END
                        ELSE CASE WHEN fired IS NULL THEN 'withdrawn' ELSE 'resolved' END END AS state, *
            FROM alerts ORDER BY over IS NOT NULL, fired IS NULL, coalesce(over, fired, begin) DESC, key LIMIT {limit}
            """
        ).fetchall()
        return [AlertSoFar(state, tuple(key), *rest) for state, key, *rest in found]

    def count_alerts(self) -> tuple[int, int, int]:
        """Return how many alerts fire, how many are over, and how many answers breach the rule."""
        found = self._db.execute(
            f"""
            WITH alerts AS (
                SELECT bool_or(alert_state = 'firing') AS fired, bool_or(alert_state = 'resolved') AS resolved
                FROM ({self._alerts.select if self._alerts else "SELECT NULL AS alert_state, NULL AS alert_id"})
                GROUP BY alert_id
            )
            SELECT count(*) FILTER (fired AND NOT resolved), count(*) FILTER (resolved),
                   (SELECT count(*) FROM {self._mine} WHERE alert)
            FROM alerts
            """
        ).fetchone()
        return cast("tuple[int, int, int]", found)

    def most_changed(self, column: str, window_end: int, limit: int = 10) -> list[Mover]:
        """Return the keys whose value differs most from that in the window before."""
        weight = f"o.{quoted(self.weight)}::DOUBLE" if self.weight else "NULL"
        keys = [f"o.{quoted(name)}" for name in self.key]
        same = " AND ".join(
            ["b.window_end = make_timestamp_ms($before)", *(f"{k} IS NOT DISTINCT FROM b{k[1:]}" for k in keys)]
        )
        value = _finite(column)
        found = self._db.execute(
            f"""
            WITH mine AS (SELECT *, {value} AS _value FROM {self._mine})
            SELECT {", ".join(f"{k}::VARCHAR" for k in keys) or "NULL"}, {weight}, o._value, b._value
            FROM mine o LEFT JOIN mine b ON {same}
            WHERE o.window_end = make_timestamp_ms($end)
            ORDER BY abs(o._value - b._value) DESC NULLS LAST, {", ".join([f"{weight} DESC NULLS LAST", *keys])}
            LIMIT {limit}
            """,
            {"end": window_end, "before": window_end - self._window.size},
        ).fetchall()
        return [Mover(tuple(row[:-3]) if self.key else (), *row[-3:]) for row in found]

    def sizes(self, span: tuple[int, int]) -> list[WindowSize]:
        """Return what lies in each window, the oldest first; at most ``POINTS`` of them, each the mean of several."""
        found = self._db.execute(
            f"""
            SELECT max(epoch_ms(window_end)), avg(answers), avg(weight)
            FROM (SELECT window_end, count(*) AS answers, {self._sum_of_weight()} AS weight FROM {self._mine}
                  WHERE epoch_ms(window_end) BETWEEN ? AND ? GROUP BY window_end)
            GROUP BY {self._place(span)} ORDER BY 1
            """,
            [*span],
        ).fetchall()
        return [WindowSize(*row) for row in found]

    def answer(self, key: Key, window_end: int) -> tuple[Mark, dict[str, Any]] | None:
        """Return the first answer of a key in a window, and all its columns; None where there is none."""
        columns = ["window_start", "window_end", *self.key, *self.columns]
        value, listed = self.value or "window_end", ", ".join(map(quoted, columns))
        found = self._db.execute(
            f"SELECT _arrival, {quoted(value)}, {self._drawn()}, {listed} "
            f"FROM {self._mine} WHERE window_end = make_timestamp_ms(?) AND {self._is_key()} ORDER BY _arrival LIMIT 1",
            [window_end, *key],
        ).fetchone()
        return found and (Mark(key, *found[:5]), dict(zip(columns, found[5:], strict=True)))

    def ranked_windows(self, closed_by: int) -> dict[int, int]:
        """Return which windows are shown where ranks move, ``POINTS`` at most, with the newest arrival in each.

        Args:
            closed_by: of the windows that end no later than this, else the first alone; milliseconds since the epoch.

        """
        if (span := self.span(None, 0)) is None:
            return {}
        last = self.newest(closed_by) or span[1]
        place = self._place((span[0], last))
        found = self._db.execute(
            f"""
            SELECT epoch_ms(window_end), max(_arrival) FROM {self._mine} WHERE epoch_ms(window_end) <= ?
            GROUP BY window_end
            QUALIFY row_number() OVER (PARTITION BY {place} ORDER BY window_end DESC) = 1
            ORDER BY 1
            """,
            [last],
        ).fetchall()
        return dict(found)

    def marks(self, column: str, ends: Sequence[int], most: int = 12) -> dict[int, list[Mark]]:
        """Return the answers with the greatest values of a column in each of the windows that end then."""
        value = _finite(column)
        keys = ", ".join(f"{quoted(name)}::VARCHAR" for name in self.key)
        # To find the least value that is shown costs less than to sort all answers.
        found = self._db.execute(
            f"""
            WITH wanted AS (
                SELECT *, {value} AS _value FROM {self._mine}
                WHERE window_end IN (SELECT make_timestamp_ms(unnest(?::BIGINT[])))
            ),
            shown AS (SELECT window_end, list_min(max(_value, {most})) AS least FROM wanted GROUP BY window_end)
            SELECT epoch_ms(window_end), [{keys}]::VARCHAR[], _arrival, {quoted(column)}, {self._drawn()}
            FROM wanted JOIN shown USING (window_end) WHERE _value >= least
            QUALIFY row_number() OVER (PARTITION BY window_end ORDER BY _value DESC, {self._key()}, _arrival) <= {most}
            ORDER BY window_end, _value DESC, {self._key()}, _arrival
            """,
            [list(ends)],
        ).fetchall()
        marks: dict[int, list[Mark]] = {end: [] for end in ends}
        for end, key, *rest in found:
            if all(each.key != tuple(key) for each in marks[end]):  # an answer that was written twice is one mark
                marks[end].append(Mark(tuple(key), *rest))
        return marks

    def judged(self, marks: Mapping[int, Sequence[Mark]]) -> tuple[dict[int, AnswerCounts], dict[tuple[int, Key], str]]:
        """Return what became of the answers in each of these windows, and which of the marks are not right, and how.

        A window is not there of which nothing is judged yet.
        """
        ends = f"FROM {judged_table(self._number)} WHERE window_end IN (SELECT make_timestamp_ms(unnest(?::BIGINT[])))"
        counts: dict[int, dict[str, int]] = {}
        for end, verdict, n in self._db.execute(
            "SELECT epoch_ms(window_end), replace(verdict, 'doubled', 'extra') AS verdict, sum(n)::BIGINT "
            f"{ends} GROUP BY ALL",
            [list(marks)],
        ).fetchall():
            counts.setdefault(end, {})[verdict] = n
        keys = {mark.key for of_window in marks.values() for mark in of_window}
        not_right = self._db.execute(
            f"SELECT epoch_ms(window_end), key, max(verdict) {ends} "
            "AND key IN (SELECT unnest(?::VARCHAR[][])) GROUP BY ALL",
            [list(marks), [list(key) for key in keys]],
        ).fetchall()
        return (
            {end: AnswerCounts.model_validate(each) for end, each in counts.items()},
            {(end, tuple(key)): verdict for end, key, verdict in not_right},
        )

    def _drawn(self) -> str:
        """Return the columns that name a mark and place it."""
        page = self._page
        kinds = ((page.label, "VARCHAR"), (page.latitude, "DOUBLE"), (page.longitude, "DOUBLE"))
        return ", ".join(f"{quoted(name)}::{kind}" if name else "NULL" for name, kind in kinds)

    def _key(self) -> str:
        return ", ".join(f"{quoted(name)}::VARCHAR" for name in self.key) or "1"

    def _is_key(self) -> str:
        return " AND ".join(f"{quoted(name)}::VARCHAR IS NOT DISTINCT FROM ?" for name in self.key) or "true"

    def _sum_of_weight(self) -> str:
        return f"sum({_finite(self.weight)})" if self.weight else "count(*)::DOUBLE"

    def _place(self, span: tuple[int, int]) -> str:
        # Counted from the epoch, so that a point stands for the same windows when the span goes on.
        return f"(epoch_ms(window_end) // {self.windows_a_point(span) * self._window.slide})"


def _finite(column: str) -> str:
    value = f"{quoted(column)}::DOUBLE"
    return f"CASE WHEN isfinite({value}) THEN {value} END"
