"""Flink without a server: a question is planned, or run to its end over messages in a file, in this process's JVM."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flink_jobs.client import Session
from flink_jobs.planner import PLANNING, Planned, check_question, plan_job
from streamproof.core.contract import Contract
from streamproof.core.question import Question

_NOWHERE = {"connector": "filesystem", "path": "file:///nowhere"}

_LOCAL = PLANNING | {
    "execution.target": "local",
    "execution.attached": "true",
    "rest.port": "0",
    "restart-strategy.type": "none",
    "taskmanager.memory.managed.size": "1g",  # a limit: windows take what they need of it
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
}
"""A small cluster within the JVM, for one job."""

Message = Mapping[str, object]


def plan_question(question: Question, contract: Contract, run: str | None = "") -> Planned:
    """Check a question as its submission would.

    Args:
        question: what is asked.
        contract: the stream.
        run: the run to follow, or None for all runs as they come.

    Raises:
        UsageError: the question is refused; the text has the rule that mends it.

    """
    if question.header.run == "batch":
        return Planned(question, check_question(question, contract), "", has_run=True, notes=["Flink is not asked it"])
    source = _NOWHERE | {"format": "json"}
    (planned,) = plan_job(
        Session(PLANNING), [question], contract, label="", run=run, source=source, sink=lambda _: _NOWHERE
    )
    return planned


def run_questions(
    questions: Sequence[Question], contract: Contract, messages: Iterable[Message], *, run: str, label: str = "local"
) -> list[list[str]]:
    """Run questions over messages, as one job; return the results of each as Flink writes them, JSON.

    Args:
        questions: what is asked.
        contract: the stream.
        messages: what a partition of the stream's topic holds, in its order.
        run: the run to follow.
        label: the ``job`` of the results.

    Raises:
        UsageError: a question is refused; the text has the rule that mends it.
        StreamproofError: the job fails, such as by a division by zero.

    """
    with tempfile.TemporaryDirectory(prefix="streamproof-flink-") as folder:
        file = Path(folder) / "messages" / "messages.json"
        file.parent.mkdir()
        file.write_text("".join(json.dumps(message, default=str) + "\n" for message in messages), encoding="utf-8")
        results = [Path(folder) / "results" / str(number) for number in range(len(questions))]
        paths = {id(question): path for question, path in zip(questions, results, strict=True)}
        session = Session(_LOCAL)
        plan_job(
            session,
            questions,
            contract,
            label=label,
            run=run,
            source={"connector": "filesystem", "path": file.parent.as_uri(), "format": "json"},
            sink=lambda question: {"connector": "filesystem", "path": paths[id(question)].as_uri()},
        )
        session.run()
        return [_lines(path) for path in results]


def _lines(folder: Path) -> list[str]:
    return [line for file in sorted(folder.glob("*")) for line in file.read_text(encoding="utf-8").splitlines()]
