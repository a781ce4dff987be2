"""The verdict so far, in words, and the answers that are not right with the rows that they should be made of."""

from dash import html

from streamproof.dashboard.attributes import attributes
from streamproof.dashboard.tables import table
from streamproof.dashboard.words import shown
from validation.comparison import AnswerCounts, Difference, InputRow, Value
from validation.delivery import RowTotals
from validation.live.live_verdict import SoFar
from validation.live.reader import ROWS_SHOWN, Picture

LISTED = 10

Judgement = tuple[str, str, str]
"""A state (open, good, bad), its symbol and its word."""

_NOT_RIGHT: Judgement = ("bad", "✕", "NOT RIGHT")
_OVERDUE: Judgement = ("open", "!", "OVERDUE")
_SO_FAR: Judgement = ("good", "✓", "RIGHT SO FAR")
_NOTHING_YET: Judgement = ("open", "…", "Nothing to judge yet")


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


def judge_question(picture: Picture, so_far: SoFar) -> tuple[str, str, str, str]:
    """Return of one question what the card of the verdict has of all: state, symbol, word, and why."""
    counts = so_far.counts
    is_quiet = picture.is_quiet and not (picture.problem or picture.no_truth)
    if counts.wrong or counts.extra or (is_quiet and counts.missing):
        return *_NOT_RIGHT, _count(counts)
    if is_quiet and so_far.is_judging:
        right = ("good", "✓", "RIGHT" if picture.reasons else "PROVEN")
        return *right, _count(counts) if counts.right else "No answer was due, and none is there."
    if not counts.right:
        return *_NOTHING_YET, f"The job {so_far.answers.job} has written nothing that can be judged yet."
    return *(_OVERDUE if counts.missing else _SO_FAR), _count(counts, is_overdue=bool(counts.missing))


def _judge(picture: Picture) -> tuple[str, str, str, str]:
    run, answers = picture.run, picture.answers
    if run is None:
        return "open", "…", "Nothing to judge", "See above for what is to be started."
    problem = picture.problem or picture.no_truth
    if picture.is_quiet and not problem:
        return _judge_the_end(picture)
    if picture.answers_not_right or any(rows.lost for rows in picture.rows.values()):
        return *_NOT_RIGHT, _count_all(picture)
    if problem:
        return "open", "?", "Cannot be judged", problem
    if not answers.right:
        waits = "The answers are being computed from the CSV files." if picture.results_read else _no_results(run.run)
        if picture.is_behind:
            waits = "The past of the run is being read."
        return *_NOTHING_YET, waits
    still = "No confirmed row is missing in Kafka." if run.state == "running" else "The run has ended; more may come."
    return *(_OVERDUE if picture.overdue else _SO_FAR), f"{_count_all(picture)} {still}"


def _judge_the_end(picture: Picture) -> tuple[str, str, str, str]:
    if picture.is_judging and not picture.reasons:
        rows = RowTotals.of(picture.rows)
        copies = f" {rows.doubled:,} further copies of rows are there; no answer counts one." if rows.doubled else ""
        all_rows = f"All {rows.sent:,} rows that were sent are in Kafka."
        return "good", "✓", "PROVEN", f"The run has ended. {_count_all(picture)} {all_rows}{copies}"
    return "bad", "✕", "NOT PROVEN", _count_all(picture)


def _no_results(run: str) -> str:
    return (
        "No result has been written yet. A result is written when all rows of its window have arrived; without a job, "
        f"none is: streamproof submit QUESTION --run {run}"
    )


def _count_all(picture: Picture) -> str:
    questions = picture.questions.values()
    what = f" to {len(questions)} questions" if len(questions) > 1 else ""
    if len(questions) == 1:
        (only,) = questions
        what = f" over windows of {only.answers.windows}"
    return _count(picture.answers, what, is_overdue=picture.overdue > 0)


def _count(counts: AnswerCounts, what: str = "", *, is_overdue: bool = False) -> str:
    text = f"{counts.right:,} answers{what} are exactly what the CSV files say"
    missing = "not there, though later ones are" if is_overdue else "missing"
    for count, how in ((counts.wrong, "wrong"), (counts.missing, missing), (counts.extra, "should not be there")):
        if count:
            text += f"; {how}: {count:,}"
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
    "Answers: all of them are computed once more, without Flink, from the CSV files and the question's text alone. "
    "Each that Flink writes must be equal in every column.",
    "Rows: each carries a number. One that was sent, and that is neither in Kafka nor among the dead letters, is lost. "
    "One that is in Kafka twice is doubled, and an answer that counts both is wrong.",
    "While the run goes on, the answers that are written are compared, and of those before them none may be absent: "
    "RIGHT SO FAR. At its end no row and no answer at all may be missing: PROVEN.",
    "The verdict needs the CSV files, the run's manifest (which rows were sent) and what lies in Kafka. What NiFi and "
    "Flink say of themselves does not count; it only helps to find where a row was lost.",
)


def how_it_is_known() -> html.Details:
    """Return why the verdict can be trusted, in words, to be opened."""
    return html.Details([html.Summary("How is this known?"), html.Ul([html.Li(each) for each in _HOW])])


def name_of(question: str, difference: Difference) -> str:
    """Return an answer in a few words."""
    key = " ".join("none" if value is None else str(value) for value in difference.key.values())
    of = f" {key}" if key else ""
    return f"{difference.verdict}: {question}{of}, from {difference.window_start} to {difference.window_end}"


def differences(picture: Picture) -> list[tuple[str, Difference]]:
    """Return the answers that are not right, by their names; the first of each question before further ones."""
    named = [
        (place, name_of(name, each), each)
        for name, so_far in picture.questions.items()
        for place, each in enumerate(so_far.not_right)
    ]
    return [(name, each) for _, name, each in sorted(named, key=lambda found: found[0])]


def difference_detail(
    name: str, difference: Difference, rows: list[InputRow], must_be: str = "by the CSV files"
) -> html.Div:
    """Return what an answer must be, what Flink wrote, and the rows of the CSV files that it should be made of."""
    names = [*(difference.expected or difference.found or {})]
    body = [
        html.Tr([html.Th(what, scope="row"), *(html.Td(_value(values, name)) for name in names)])
        for what, values in ((must_be, difference.expected), ("written by Flink", difference.found))
    ]
    fields = [*rows[0].fields] if rows else []
    lines = [
        html.Tr(
            [
                html.Td(row.category),
                html.Td(f"{row.line:,}"),
                html.Td(f"{row.seq:,}"),
                html.Td(row.event_time),
                *(html.Td(_value(row.fields, field)) for field in fields),
            ]
        )
        for row in rows
    ]
    of_file = table(("category", "line", "seq", "event time", *fields), lines)
    cut = f" (the first {ROWS_SHOWN})" if len(rows) == ROWS_SHOWN else ""
    return html.Div(
        [
            html.H3(name),
            html.Div(table(("", *names), body), className="scroll", tabIndex=0),
            html.H3(f"Its rows in the CSV files{cut}"),
            html.Div(of_file, className="scroll", tabIndex=0) if rows else html.P("None: no file has a row in it."),
        ],
        className="detail",
    )


def _value(values: dict[str, Value] | None, name: str) -> str:
    value = values.get(name) if values else None
    return value if isinstance(value, str) else shown(value)
