"""The verdict so far, in words, and the windows that are not right with the rows that they should be made of."""

from dash import html

from streamproof.core.contract import Contract
from streamproof.core.measures import Measure
from streamproof.dashboard.attributes import attributes
from streamproof.dashboard.tables import table
from streamproof.dashboard.words import measured, moment
from validation.comparison import WindowExample, WindowValues
from validation.delivery import RowTotals
from validation.live.reader import Picture
from validation.live.window_rows import SHOWN, FileRow

LISTED = 10


def verdict_card(picture: Picture) -> html.Div:
    """Return the verdict: a symbol, a word, why, and what speaks against it."""
    state, symbol, word, why = _judge(picture)
    reasons = [html.Li(reason) for reason in _against(picture)]
    return html.Div(
        [
            html.P(
                [html.Span(symbol, className="symbol", **attributes(aria_hidden="true")), html.Strong(word)],
                className="word",
            ),
            html.P(why),
            *([html.Ul(reasons)] if reasons else []),
        ],
        className=f"verdict {state}",
        **attributes(data_verdict=state),
    )


def _judge(picture: Picture) -> tuple[str, str, str, str]:
    run, windows = picture.run, picture.windows
    if run is None:
        return "open", "…", "Nothing to judge", "See above for what is to be started."
    problem = picture.problem or picture.no_truth
    if picture.is_quiet and not problem:
        return _judge_the_end(picture)
    if picture.windows_not_right or any(rows.lost for rows in picture.rows.values()):
        return "bad", "✕", "NOT RIGHT", _count(picture)
    if problem:
        return "open", "?", "Cannot be judged", problem
    if not windows.right:
        waits = "The windows are being computed from the CSV files." if picture.windows_read else _no_windows(run.run)
        if picture.is_behind:
            waits = "The past of the run is being read."
        return "open", "…", "Nothing to judge yet", waits
    still = "No confirmed row is missing in Kafka." if run.state == "running" else "The run has ended; more may come."
    state = ("open", "!", "OVERDUE") if picture.overdue else ("good", "✓", "RIGHT SO FAR")
    return (*state, f"{_count(picture)} {still}")


def _judge_the_end(picture: Picture) -> tuple[str, str, str, str]:
    if picture.is_judging and not picture.reasons:
        rows = RowTotals.of(picture.rows)
        copies = f" {rows.doubled:,} further copies of rows are there; no window counts one." if rows.doubled else ""
        all_rows = f"All {rows.sent:,} rows that were sent are in Kafka."
        return "good", "✓", "PROVEN", f"The run has ended. {_count(picture)} {all_rows}{copies}"
    return "bad", "✕", "NOT PROVEN", _count(picture)


def _no_windows(run: str) -> str:
    return (
        "No window has been written yet. A window is written when all its rows have arrived; without a job, none is: "
        f"streamproof submit rating_averages --size 30s --slide 5s --run {run}"
    )


def _count(picture: Picture) -> str:
    windows, job = picture.windows, picture.job
    shape = f" of {job.windows}" if job else ""
    text = f"{windows.right:,} windows{shape} are exactly what the CSV files say"
    missing = "not there, though later ones are" if picture.overdue else "missing"
    for count, what in ((windows.wrong, "wrong"), (windows.missing, missing), (windows.extra, "should not be there")):
        if count:
            text += f"; {what}: {count:,}"
    return f"{text}."


def _against(picture: Picture) -> list[str]:
    if picture.run is None or picture.problem:
        return []
    hidden = [picture.hidden] if picture.hidden else []
    if picture.is_quiet:
        return picture.reasons + hidden
    return hidden + [
        f"{category}: {missing}"
        for category, rows in picture.rows.items()
        if rows.lost
        for missing in rows.say_missing()
    ]


_HOW = (
    "Windows: all of them are computed once more, without Flink, from the CSV files alone. In each that Flink writes "
    "the count, the sum and whatever else the job writes must be equal.",
    "Rows: each carries a number. One that was sent, and that is neither in Kafka nor among the dead letters, is lost. "
    "One that is in Kafka twice is doubled, and a window that counts both is wrong.",
    "While the run goes on, the windows that are written are compared, and of those before them none may be absent: "
    "RIGHT SO FAR. At its end no row and no window at all may be missing: PROVEN.",
    "The verdict needs the CSV files, the run's manifest (which rows were sent) and what lies in Kafka. What NiFi and "
    "Flink say of themselves does not count; it only helps to find where a row was lost.",
)


def how_it_is_known() -> html.Details:
    """Return why the verdict can be trusted, in words, to be opened."""
    return html.Details([html.Summary("How is this known?"), html.Ul([html.Li(each) for each in _HOW])])


def name_of(window: WindowExample) -> str:
    """Return a window in a few words."""
    return f"{window.verdict}: {window.category} {window.key}, from {window.window_start} to {window.window_end}"


def window_detail(window: WindowExample, rows: list[FileRow], contract: Contract) -> html.Div:
    """Return what a window must be, what Flink wrote, and the rows of the CSV file that lie in it."""
    names = [*(window.expected or window.found or {})]
    body = [
        html.Tr([html.Th(what, scope="row"), *(html.Td(_value(values, name)) for name in names)])
        for what, values in (("by the CSV files", window.expected), ("written by Flink", window.found))
    ]
    lines = [
        html.Tr(
            [html.Td(f"{row.line:,}"), html.Td(f"{row.seq:,}"), html.Td(row.measure), html.Td(moment(row.event_time))]
        )
        for row in rows
    ]
    of_file = table(("line", "seq", measured(contract), "event time"), lines)
    cut = f" (the first {SHOWN})" if len(rows) == SHOWN else ""
    return html.Div(
        [
            html.H3(name_of(window)),
            html.Div(table(("", *names), body), className="scroll", tabIndex=0),
            html.H3(f"Its rows in the CSV file{cut}"),
            html.Div(of_file, className="scroll", tabIndex=0) if rows else html.P("None: the file has no row in it."),
        ],
        className="detail",
    )


def _value(values: WindowValues | None, name: Measure) -> str:
    value = values.get(name) if values else None
    return "none" if value is None else str(value)
