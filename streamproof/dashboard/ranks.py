"""The ranks of a question window by window, as assets/ranks.js draws them: bars that move, and marks on a map.

Each mark bears what became of its answer in the comparison, and each window what became of all of its answers.
"""

import json
from typing import Any

import duckdb

from streamproof.core.duration import format_duration
from streamproof.core.question import Question
from streamproof.dashboard.words import moment, name_of_key, shown
from validation.answers import Answers
from validation.comparison import AnswerCounts
from validation.live.results import Key, Mark, QuestionResults
from validation.live.rows_over_time import RowsOverTime, rows_over_time

Scene = dict[str, Any]
"""What is drawn, as JSON: ``entities`` (name, link without its window, latitude, longitude) and ``frames``."""


class Ranks:
    """The windows of one question that were drawn; each is asked for once, until something arrives in it."""

    def __init__(self) -> None:
        self._marks: dict[int, tuple[int, list[Mark]]] = {}

    def scene(
        self, question: Question, results: QuestionResults, column: str, *, closed_by: int, judged_to: int
    ) -> Scene:
        """Return what is to be drawn.

        Args:
            question: what was asked.
            results: its answers; the same at each call.
            column: whose values are ranked; the same at each call.
            closed_by: the newest window that is shown is the last that ends no later; milliseconds since the epoch.
            judged_to: the arrival up to which all answers are judged.

        """
        known, arrivals = self._marks, results.ranked_windows(closed_by)
        new = [end for end, arrival in arrivals.items() if known.get(end, (None,))[0] != arrival]
        found = results.marks(column, new)
        self._marks = {end: (at, found[end] if end in found else known[end][1]) for end, at in arrivals.items()}
        marks = {end: of_window for end, (_, of_window) in self._marks.items()}
        counts, not_right = results.judged(marks)
        entities: dict[tuple[str, Key, float | None, float | None], int] = {}
        frames = []
        for end, of_window in marks.items():
            drawn = []
            for mark, name in zip(of_window, _names(of_window, results.key), strict=True):
                entity = entities.setdefault((name, mark.key, mark.latitude, mark.longitude), len(entities))
                is_judged = end in counts and mark.arrival <= judged_to
                verdict = not_right.get((end, mark.key), "right") if is_judged else "open"
                drawn.append([entity, float(mark.value), shown(mark.value), verdict])
            frames.append([end, f"window to {moment(end)}", *say_window(counts.get(end)), drawn])
        return {
            "question": question.name,
            "value": column,
            "hasMap": "map" in question.header.page.draw,
            "entities": [[name, list(key), latitude, longitude] for name, key, latitude, longitude in entities],
            "frames": frames,
        }


def saved_scene(db: duckdb.DuckDBPyConnection, answers: Answers, results: QuestionResults, closed_by: int) -> Scene:
    """Return what a report draws of answers that are all judged: with the rows behind those of its last window.

    ``closed_by`` says which that is, as for ``Ranks.scene``.
    """
    if results.value is None or results.newest(closed_by) is None:
        return {}
    all_judged = 2**62
    scene = Ranks().scene(answers.question, results, results.value, closed_by=closed_by, judged_to=all_judged)
    end, *_, marks = scene["frames"][-1]
    keys = [tuple(scene["entities"][entity][1]) for entity, *_ in marks]
    rows = [behind(db, answers, results, end=end, key=key, judged_to=all_judged) for key in keys]
    named = [json.dumps([answers.question.name, end, *key], ensure_ascii=False, separators=(",", ":")) for key in keys]
    return scene | {"isSaved": True, "behind": dict(zip(named, rows, strict=True))}


def behind(
    db: duckdb.DuckDBPyConnection, answers: Answers, results: QuestionResults, *, end: int, key: Key, judged_to: int
) -> Scene | None:
    """Return an answer, and the rows of the files behind it as they lie in time; None where there is no such answer."""
    question = answers.question
    if not (found := results.answer(key, end)):
        return None
    mark, columns = found
    counts, not_right = results.judged({end: [mark]})
    is_judged = end in counts and mark.arrival <= judged_to
    # Where the key is a place in a ranking, what stands there says whose rows they are.
    named = (dict(zip(question.key, key, strict=True)), {n: v for n, v in columns.items() if isinstance(v, str)})
    rows = rows_over_time(db, named, end, end - answers.start_of(end)) if is_judged else None
    return {
        "title": f"{_names([mark], results.key)[0]}: window to {moment(end)}",
        "verdict": not_right.get((end, key), "right") if is_judged else "open",
        "answer": [[name, shown(value)] for name, value in columns.items()],
        "counts": rows.counts if rows else [],
        "mean": rows and rows.mean,
        "begin": rows and moment(rows.begin),
        "end": moment(end),
        "says": _say_rows(rows, end) if rows else "Its rows in the files cannot be told, or are not read yet.",
    }


def _say_rows(rows: RowsOverTime, end: int) -> str:
    which = ", ".join(f"{name} = {value}" for name, value in rows.fields.items())
    part = format_duration(rows.part)
    time, longer = (format_duration(each) for each in (end - rows.begin, end - rows.since))
    a_part = sum(rows.counts) / len(rows.counts)
    return (
        f"{sum(rows.counts):,} rows with {which} in the last {time}: {a_part:,.3g} each {part}. The dashed line is the "
        f"mean of the last {longer}: {rows.mean:,.3g} each {part}."
    )


def say_window(counts: AnswerCounts | None) -> tuple[str, str]:
    """Return what became of the answers of a window: a state (open, good, bad), and in words."""
    if counts is None:
        return "open", "… not judged yet"
    wrong = [
        f"{n:,} {what}"
        for what, n in (("wrong", counts.wrong), ("missing", counts.missing), ("extra", counts.extra))
        if n
    ]
    if wrong:
        return "bad", f"✕ NOT RIGHT: {counts.right:,} right, {', '.join(wrong)}"
    answers = f"all {counts.right:,} answers" if counts.right != 1 else "the answer"
    return "good", f"✓ RIGHT: {answers} of this window"


def _names(marks: list[Mark], key: tuple[str, ...]) -> list[str]:
    """Name marks for people; those of one window that bear the same label are told apart by their key."""
    labels = [mark.label for mark in marks]
    return [
        mark.label
        if mark.label and labels.count(mark.label) == 1
        else " · ".join(filter(None, (mark.label, name_of_key(key, mark.key))))
        for mark in marks
    ]
