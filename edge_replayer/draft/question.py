"""A first question about a stream: how many rows, and the average of a number, in each window and for each key."""

from streamproof.core.duration import format_duration

_WINDOWS = (1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000,
            2_592_000_000, 7_776_000_000, 31_536_000_000)  # fmt: skip
"""Milliseconds."""

_A_MINUTE = 60_000
_ROWS, _OF_ALL = 100, 10  # in a window on average: that many, or that part of a short file


def first_window(times: list[int], rows: int) -> int:
    """Return how long a window is that holds some of the rows, but not too many: milliseconds.

    Args:
        times: when rows happened, milliseconds since the epoch; none where rows are sent one a second.
        rows: how many rows the file is known to have.

    """
    if not times:
        return _A_MINUTE
    ordered = sorted(times)
    edge = len(times) // 20  # a clock that is far off is none of the file's pace
    middle = ordered[edge : len(times) - edge]
    span = middle[-1] - middle[0]
    if span == 0:
        return _A_MINUTE
    wanted = span / len(middle) * max(1, min(_ROWS, rows / _OF_ALL))
    return next((window for window in _WINDOWS if window >= wanted), _WINDOWS[-1])


def question_text(stream: str, window: int, key: str, number: str | None, fields: set[str]) -> str:
    """Return a question's text.

    Args:
        stream: the stream's name.
        window: milliseconds.
        key: the field by which it counts, or ``category``.
        number: the field of which it takes the average, if there is one.
        fields: the stream's fields, by which no other column is called.

    """
    count = _free("row_count", fields)
    length = format_duration(window)
    columns, title = [f"COUNT(*) AS {count}"], f"How many rows has each {key} in {length}"
    if number:
        # A name in backticks may be a word that Flink reserves.
        columns.append(f"AVG(CAST(`{number}` AS DOUBLE)) AS {_free(f'{number}_avg', fields)}")
        title += f", and what is the average {number}"
    columns_text = ",\n       ".join(columns)
    return f"""\
-- {title}?
-- stream = "{stream}"
-- window = "tumbling {length}"
-- key = ["{key}"]

SELECT window_start, window_end, `{key}`,
       {columns_text}
FROM windowed
GROUP BY window_start, window_end, `{key}`
"""


def _free(name: str, taken: set[str]) -> str:
    return f"{name}_" if name in taken else name
