"""A job before it runs: its questions are read by both engines, and what Flink would do for ever is refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from flink_jobs.client import Session
from flink_jobs.tables import (
    OWN_VIEWS,
    question_views,
    results_insert,
    results_table,
    shared_statements,
    tally_views,
)
from flink_jobs.tables import tally as tally_of
from streamproof.core.batch import NUMBER, WHOLE_NUMBER, Columns, columns_of
from streamproof.core.contract import Contract
from streamproof.core.duration import format_duration
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.model_rule import SCORE, ModelRule
from streamproof.core.question import RESULT_COLUMNS, Question
from streamproof.core.question_text import check_text, has_subquery, used_fields

PLANNING = {
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",  # else window bounds are in the client's zone
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",  # one removal of copies for all questions
}
"""What a session must be configured with, whatever else."""

_OPERATOR = re.compile(r"^[\s+\-:]*(\w+)\(", re.MULTILINE)
_CHANGES = re.compile(r"changelogMode=\[([^\]]*)\]")
_BY_WINDOWS = "GROUP BY, DISTINCT, UNION and IN (SELECT …) must go by window_start and window_end"
_RANK = (
    "ROW_NUMBER must be OVER (PARTITION BY window_start, window_end ORDER BY …), and the SELECT around it must have "
    "WHERE place <= n"
)
_FOR_EVER = {
    "GroupAggregate": _BY_WINDOWS,
    "LocalGroupAggregate": _BY_WINDOWS,
    "ChangelogNormalize": _BY_WINDOWS,
    "Rank": _RANK,
    "Deduplicate": _RANK,
    "Join": "a JOIN must compare window_start and window_end of both sides, and both must be GROUPed BY them",
    "SortLimit": "leave LIMIT out: for the first n of each window use ROW_NUMBER (docs/questions.md)",
    "Limit": "leave LIMIT out: for the first n of each window use ROW_NUMBER (docs/questions.md)",
    "Sort": "leave ORDER BY at the end out: a stream has no end at which it could be sorted",
    "TemporalSort": "leave ORDER BY at the end out: results are in no order, and each names its window",
    "Match": "MATCH_RECOGNIZE has no counterpart in the batch",
}
"""Operators whose state no watermark clears, or which only a stream has, and the rule that mends the question."""

_COPIED = re.compile(
    r"WindowTableFunction\(window=\[(?:HOP|CUMULATE)\(time_col=\[(\w+)\]"  # an aggregate has it, where it is sliced
)

_BOTH = "use one that both engines have, or give each its own line with `-- flink:` and `-- batch:`"
_ADVICE = (
    (
        r"RANK\(\) function is not supported",
        "use ROW_NUMBER instead of RANK and DENSE_RANK, with an ORDER BY without ties",
    ),
    (
        r"can only be ordered by a single time column",
        f"if it is a ranking, {_RANK}. If it looks at earlier windows, write OVER (… ORDER BY window_time). "
        "For a window's total, JOIN a second aggregation on window_start and window_end",
    ),
    (
        r"OVER windows' ordering in stream mode must be defined on a time attribute",
        "write OVER (… ORDER BY window_time)",
    ),
    (r"No match found for function signature (\w+)", f"Flink has no function {{0}} for this: {_BOTH}"),
    (r"Bang equal", "write <> instead of !="),
    (
        r"Expression '.*' is not being grouped",
        "a column of the SELECT stands in GROUP BY by its name, or in an aggregate like SUM; GROUP BY 1, 2 is not read",
    ),
    (
        r"Column '(.*)' not found in any table",
        "Flink knows the names that a SELECT gives only in the SELECT around it: repeat what {0} stands for in WHERE, "
        "HAVING and GROUP BY",
    ),
    (r"Sort on a non-time-attribute field", _FOR_EVER["Sort"]),
    (
        r"Cannot apply '-' to arguments of type '<TIMESTAMP",
        f"two times have no difference that both engines know: {_BOTH}",
    ),
    (
        r"Distinct aggregate function does not support type: ROW",
        "count distinct texts instead: COUNT(DISTINCT a || '/' || b)",
    ),
    (
        r"doesn't support consuming|Retract|update and delete changes",
        f"Flink would revise its answers: {_BY_WINDOWS}",
    ),
)
"""What Flink says where it refuses a text, and what to write instead."""


@dataclass(frozen=True)
class Planned:
    """A question that both engines have taken.

    Attributes:
        question: the question.
        columns: its own columns, and their types at Flink.
        plan: Flink's plan.
        has_run: whether its answers say of which run they are.
        notes: what is worth knowing though nothing is wrong.

    """

    question: Question
    columns: Mapping[str, str]
    plan: str
    has_run: bool
    notes: list[str]


def plan_job(
    session: Session,
    questions: Sequence[Question],
    contract: Contract,
    *,
    label: str,
    run: str | None,
    source: Mapping[str, str],
    sink: Callable[[Question], Mapping[str, str]],
    tally: Callable[[Question], Mapping[str, str]] | None = None,
) -> list[Planned]:
    """Make a job's tables and views, and add an INSERT for each question to the session's statement set.

    Args:
        session: a table environment of its own.
        questions: what is asked of the stream.
        contract: the stream.
        label: what marks the job's results and its Kafka transactions.
        run: the run to follow, or None for all runs as they come.
        source: the options of the table of messages.
        sink: gives the options of the table of a question's results.
        tally: gives those of the table of how many results each window has, which alerts and models need; None
            writes none.

    Raises:
        UsageError: a question is refused; the text has the rule that mends it.
        StreamproofError: Flink refuses a statement.

    """
    used = {name for question in questions for name in used_fields(question, contract.fields)}
    fields = [name for name in contract.fields if name in used]
    batch = [check_question(question, contract) for question in questions]
    # Flink's planner cannot take arrays apart below an EXISTS or IN: "unexpected correlate variable".
    one_by_one = any(map(has_subquery, questions))
    for statement in shared_statements(questions, fields, contract, source, run, one_by_one=one_by_one):
        session.execute(statement)
    planned = []
    for number, (question, in_batch) in enumerate(zip(questions, batch, strict=True)):
        views = question_views(question, fields, number) | (tally_views(question) if question.is_tallied else {})
        try:
            for statement in views.values():
                session.execute(statement)
            in_flink = session.columns_of(question.body("flink"))
            check_columns(question, in_flink, in_batch, run)
            plan = _plan(session, question, contract)
            notes = check_plan(question, plan)
            if question.is_tallied:
                notes += _check_tally(session, question, contract, run)
            columns = {name: kind for name, kind in in_flink.items() if name not in RESULT_COLUMNS}
            table = f"results_{number}"
            session.execute(results_table(table, columns, sink(question)))
            has_run = "run" in in_flink
            session.add_insert(results_insert(table, question, list(columns), label=label, run=run, has_run=has_run))
            if tally and question.is_tallied and run is not None:
                session.execute(results_table(f"tally_{number}", {"answers": "BIGINT"}, tally(question)))
                session.add_insert(
                    results_insert(
                        f"tally_{number}",
                        question,
                        ["answers"],
                        label=label,
                        run=run,
                        has_run=False,
                        select=tally_of(question),
                    )
                )
        except StreamproofError as error:
            raise UsageError(f"{question.name}: {_explained(str(error), question)}") from error
        for name in reversed(views):
            session.execute(f"DROP TEMPORARY VIEW `{name}`")
        planned.append(Planned(question, columns, plan, has_run, notes))
    return planned


_plans: dict[tuple[str, str, str, str], str] = {}
"""Plans that this process has seen: planning is most of what a submission costs, and each statement is planned anew."""


def _plan(session: Session, question: Question, contract: Contract, select: str = "") -> str:
    asked = (question.text, str(question.window), contract.model_dump_json(), select)
    if asked not in _plans:
        _plans[asked] = session.explain(select or question.body("flink"))
    return _plans[asked]


def _check_tally(session: Session, question: Question, contract: Contract, run: str | None) -> list[str]:
    """Check that Flink can count the results of each window; return a note where nothing will follow from them."""
    what = "alert" if question.header.alert else "model"
    if run is None:
        return [f"its {what}s are not computed, as the job follows no run (--run)"]
    try:
        check_plan(question, _plan(session, question, contract, tally_of(question)))
    except StreamproofError as error:
        raise StreamproofError(
            f"{what}: how many results a window has cannot be counted when it closes, so nobody would know when it is "
            f"complete: {error}"
        ) from error
    return []


def check_question(question: Question, contract: Contract) -> Columns:
    """Check a question without Flink: its text, and what DuckDB makes of it. Returns its columns in DuckDB.

    Raises:
        UsageError: it is refused.

    """
    if taken := {view.name for view in question.views("flink")} & set(OWN_VIEWS):
        raise UsageError(f"{question.name}: a view cannot be called {min(taken)}: choose another name")
    check_text(question, contract)
    columns = columns_of(question, contract)
    if rule := question.header.alert:
        if own := [name for name in columns if name.startswith("alert") and name not in rule.columns]:
            raise UsageError(f"{question.name}: {own[0]}: names that begin with alert are the alert's own")
        if rule.repeat and rule.repeat < question.result_window.slide:
            raise UsageError(
                f"{question.name}: alert.repeat: {format_duration(rule.repeat)} is shorter than from one window to the "
                f"next, {format_duration(question.result_window.slide)}: choose a longer one"
            )
    check_page(question, columns)
    for model in question.models:
        _check_model(model, columns, contract)
    return columns


def _check_model(question: Question, columns: Columns, contract: Contract) -> None:
    model = cast("ModelRule", question.model)
    where = f"{cast('Question', question.scored).name}: models.{question.name}"
    if SCORE in columns:
        raise UsageError(f"{where}: {SCORE} is what a model adds: give the question's column another name")
    for name in model.values:
        if name not in columns:
            raise UsageError(f"{where}: the answer has no column {name}: it has {', '.join(columns)}")
        if not (WHOLE_NUMBER.fullmatch(columns[name]) or columns[name].startswith("DECIMAL")):
            raise UsageError(
                f"{where}: {name} is {columns[name]}: take a whole number or a decimal. The last digits of a double "
                "may differ between Flink and the batch, and so would all scores behind it"
            )
    columns_of(question, contract)  # its alert's condition is read


def check_page(question: Question, columns: Columns) -> None:
    """Check that the columns that its header wants to be drawn are there, and are numbers where numbers are drawn.

    Raises:
        UsageError: they are not.

    """
    page = question.header.page
    numbers = [name for name, kind in columns.items() if NUMBER.fullmatch(kind) and name not in question.key]
    for what in ("value", "weight", "latitude", "longitude", "label"):
        name = getattr(page, what)
        if name is not None and name not in columns:
            raise UsageError(
                f"{question.name}: page.{what}: the answer has no column {name}: it has {', '.join(columns)}"
            )
        if name is not None and what in {"value", "weight"} and name not in numbers:
            known = ", ".join(numbers) or "none"
            raise UsageError(
                f"{question.name}: page.{what}: {name} is no column of numbers beside the key; these are: {known}"
            )
        if name is not None and what in {"latitude", "longitude"} and not NUMBER.fullmatch(columns[name]):
            raise UsageError(
                f"{question.name}: page.{what}: {name} is {columns[name]}, and must be a number of degrees"
            )
    if not numbers and (drawn := {"bars", "map"} & set(page.draw)):
        raise UsageError(
            f"{question.name}: page.draw: {min(drawn)} needs a column of numbers beside the key: there is none"
        )


def check_columns(question: Question, in_flink: Columns, in_batch: Columns, run: str | None) -> None:
    """Check that both engines give the same columns of the same types, with all that tells results apart.

    Raises:
        StreamproofError: they do not.

    """
    broken = []
    if missing := [name for name in ("window_start", "window_end", *question.key) if name not in in_flink]:
        broken.append(f"the result has no column {missing[0]}: add it to SELECT, and to GROUP BY")
    if reserved := (set(RESULT_COLUMNS) - {"run", "window_start", "window_end"}) & set(in_flink):
        broken.append(f"the column {min(reserved)} is written with each result: choose another name")
    if run is None and "run" not in in_flink:
        broken.append(
            "without --run a job follows all runs of the stream, and the question would mix them: add run to SELECT "
            "and GROUP BY, or choose a run with --run"
        )
    if odd := [name for name in in_batch if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        broken.append(
            f"{odd[0]} is no name for a column of results: write AS and a name of small letters, digits and _ behind it"
        )
    elif list(in_flink) != list(in_batch):
        broken.append(f"Flink's columns are {', '.join(in_flink)}, DuckDB's {', '.join(in_batch)}: name each with AS")
    else:
        for name, kind in in_flink.items():
            ours, theirs = _family(kind), _family(in_batch[name])
            if ours is None or theirs is None:
                broken.append(f"{name} is {kind} in Flink and {in_batch[name]} in DuckDB, which cannot be compared")
            elif ours != theirs:
                broken.append(
                    f"{name} is {kind} in Flink, but {in_batch[name]} in DuckDB, so their answers differ: "
                    f"{_remedy(ours, theirs)}"
                )
            elif name in question.key and ours == "double":
                broken.append(f"key: {name} is a {kind}, whose last digits may differ: use a whole number or a text")
    if broken:
        raise StreamproofError("; ".join(broken))


def check_plan(question: Question, plan: str) -> list[str]:
    """Check what Flink would do; return notes on what will be slow or large.

    Raises:
        StreamproofError: answers would be revised, or state kept for ever.

    """
    operators = set(_OPERATOR.findall(plan))
    for operator, rule in _FOR_EVER.items():
        if operator in operators:
            raise StreamproofError(f"{rule} (Flink's plan has a {operator}, whose state is never cleared)")
    if any(mode != "I" for mode in _CHANGES.findall(plan)):
        raise StreamproofError(
            "Flink would revise its answers: GROUP BY window_start and window_end in each step, and keep what is "
            "counted within a window"
        )
    notes = []
    again = question.header.again
    for time, window in {"pane_time": question.window, **({again.time: again.window} if again else {})}.items():
        if time in _COPIED.findall(plan) and window.windows_a_row > 1:
            notes.append(
                f"Flink copies each row into its {window.windows_a_row} windows before it counts, as something below "
                "GROUP BY asks for window_start or window_end; it could count slices of "
                f'{format_duration(window.slide)} once (docs/questions.md, "What it costs")'
            )
    if "OverAggregate" in operators:
        notes.append("OVER keeps something of each key that it has met for as long as the job runs")
    return notes


def _family(kind: str) -> str | None:
    """Return what two types have in common whose values can be compared exactly; None for others."""
    kind = kind.upper().replace(" NOT NULL", "")
    if WHOLE_NUMBER.fullmatch(kind):
        return "whole number"
    if match := re.fullmatch(r"DECIMAL\(\d+, ?(\d+)\)", kind):
        return f"decimal with {match[1]} digits behind the point"
    if re.fullmatch(r"(VAR)?CHAR(\(\d+\))?|STRING", kind):
        return "text"
    if re.fullmatch(r"TIMESTAMP(\(\d\)|_MS|_S|_NS)?", kind):
        return "timestamp"
    return {"DOUBLE": "double", "FLOAT": "float", "BOOLEAN": "boolean", "DATE": "date"}.get(kind)


def _remedy(flink: str, batch: str) -> str:
    if "double" in {flink, batch}:
        how = "Flink cuts off what is behind the point" if flink == "whole number" else "Flink rounds to some digits"
        return (
            f"{how}, DuckDB does not. Write CAST(… AS DOUBLE) around what is divided or averaged, like "
            "CAST(SUM(x) AS DOUBLE) / COUNT(*) or AVG(CAST(x AS DOUBLE))"
        )
    return "write CAST(… AS TYPE) around it"


def _explained(error: str, question: Question) -> str:
    """Add to what Flink says what to write instead."""
    if match := re.search(r"(?:near the keyword '|Encountered \")(\w+).*? at line (\d+), column (\d+)", error):
        word, line, column = match[1], int(match[2]), int(match[3])
        behind = question.body("flink").splitlines()[line - 1 : line]
        if behind and re.match(rf"{word}\s*\(", behind[0][column - 1 :], re.IGNORECASE):
            return f"Flink has no function {word} for this: {_BOTH} ({error})"
        name = word.lower()
        return f"{name} is a word that Flink reserves: write it as `{name}`, which both engines take ({error})"
    for said, advice in _ADVICE:
        if match := re.search(said, error):
            return f"{advice.format(*match.groups())} ({error})"
    return error
