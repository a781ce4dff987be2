"""The command ``batch``: a question answered from files alone, also one that only the whole run can answer."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import duckdb
import typer

from streamproof.chain.ask_stages import STAGES
from streamproof.core.command import console
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.question import Question, load_question
from streamproof.core.question_text import used_fields
from streamproof.core.run import Run, category_files, load_run, some_of
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.sql_quoting import literal, quoted
from streamproof.sinks.kept import databases_of
from streamproof.sinks.lake.catalogue import LakeSettings, open_catalogue
from streamproof.sinks.lake_answers import store_answers
from validation.answers import Answers, Wanted, find_answers, truth_table
from validation.comparison import compare, first_not_right
from validation.csv_rows import read_rows
from validation.export import write_answers
from validation.files_alone import read_files
from validation.kafka_records import RunRecords
from validation.live.lake_batch import LakeBatch
from validation.live.whole_run import note_asked
from validation.report import describe
from validation.stages import LAST, AskedBy
from validation.truth import compute_truth, number_rows
from validation.verdict import open_database


@contextmanager
def rows_from_files(run: Run, questions: Iterable[Question], home: HomeSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a database that has a run's rows in its table ``sent``, with the fields that the questions use.

    Raises:
        StreamproofError: a file is missing or is not the one that was replayed.

    """
    fields = {field for question in questions for field in used_fields(question, run.contract.fields)}
    with open_database(home.runs / run.run) as db:
        number_rows(db, run, read_rows(db, run, fields))
        yield db


def batch(
    question: Annotated[str, typer.Argument(help="The question, by its name or file.", show_default=False)],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CATEGORY=FILE]...", help="The files; with --run the new places of files that have moved."
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The id of the run whose files are meant.")] = None,
    form: Annotated[Literal["csv", "json"], typer.Option("--format", help="The form.")] = "csv",
    source: Annotated[
        Literal["files", "lake", "both"],
        typer.Option(
            "--from", help="The files; the lake; or, with --run, both: the lake, and the stream for what is newer."
        ),
    ] = "files",
) -> None:
    """Answer a question from files alone, or from the lake.

    From files no server is needed. With `--run` they must hold the bytes that were replayed. Without it the rows have
    the files' own time. A question with `run = "batch"` is answered only by a batch; the run's page and report show its
    answer from then on.

    From the lake, what hours of a run that have closed can answer is computed once and kept there, and put into each
    database that keeps the run. Where Kafka has the stream's answers, they are compared with it; exit code 1 if they
    differ. Without `--run` the answers are over all runs of the question's stream that the lake has.
    """
    asked, named, lake_too = load_question(question), category_files(files) if files else {}, source != "files"
    if lake_too and (files or (source == "both" and not run)):
        raise UsageError(f"--from {source} reads no files" if files else "--from both needs --run RUN")
    if lake_too and run:
        if _from_lake(load_run(run, HomeSettings()), asked, form, and_stream=source == "both"):
            raise typer.Exit(1)
        return
    answered = _from_all_runs(asked) if lake_too else _answers(asked, run, named)
    with answered as db, tempfile.TemporaryDirectory() as folder:
        write_answers(db, "SELECT * FROM answers", asked, form, None, Path(folder), _iso)


@contextmanager
def _from_all_runs(question: Question) -> Iterator[duckdb.DuckDBPyConnection]:
    home = HomeSettings()
    catalogue = open_catalogue(LakeSettings(), home)
    from streamproof.sinks.lake.batch import answer_all_runs

    with open_database(home.home) as db:
        found = answer_all_runs(db, catalogue, question)
        _say(f"the lake has {found.rows:,} rows of these runs: {some_of(found.runs)}")
        if found.open:
            _say(f"of these runs more rows may come, so their last windows may change: {some_of(found.open)}")
        yield db


def _from_lake(run: Run, question: Question, form: Literal["csv", "json"], *, and_stream: bool) -> int:
    """Write the lake's answers, say how the stream's compare with them, and return how many are not right.

    They have the windows of the newest job that was asked the question of this run.
    """
    home, settings = HomeSettings(), LakeSettings()
    catalogue = open_catalogue(settings, home)
    from streamproof.sinks.lake.batch import answer_from_lake

    by_jobs = STAGES.jobs(run) if STAGES.jobs else []
    asked = (each.question for each in by_jobs if each.of_run)
    question = next((each for each in asked if (each.name, each.text) == (question.name, question.text)), question)
    with open_database(home.runs / run.run) as db, tempfile.TemporaryDirectory() as folder:
        kept = answer_from_lake(db, catalogue, run, question)
        done_to = kept.done_to if kept.done_to < LAST else None
        until = f"{datetime.fromtimestamp(done_to / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" if done_to else "its end"
        _say(f"the lake's answers to {question.name} go to {until}; {kept.new:,} are new")
        stream = None if question.header.run == "batch" else _stream_answers(db, run, question, by_jobs)
        where = f"window_end <= make_timestamp_ms({kept.done_to})"
        answers = db.table("answers").count("*").fetchall()[0][0]
        found = LakeBatch(
            question=question.label, window=question.window, made_at=datetime.now(UTC), done_to=done_to, answers=answers
        )
        if stream:
            db.execute(f"CREATE TABLE {truth_table(stream.number)} AS FROM answers")
            found.counts = compare(db, stream, where=where)
            found.not_right = tuple(first_not_right(db))
            counts = ", ".join(f"{count:,} {what}" for what, count in found.counts.model_dump().items())
            _say(f"the stream's, up to there: {counts}")
            for each in found.not_right:
                _say(f"  {describe(each)}")
        note_asked(run.run, question, home)
        found.save(run.run, question, home)
        select = "FROM answers"
        if and_stream and stream:
            names = db.table("answers").columns
            newer = ", ".join(f"{literal(run.run)} AS run" if name == "run" else quoted(name) for name in names)
            select = f"FROM answers UNION ALL BY NAME SELECT {newer} FROM ({stream.select}) WHERE NOT ({where})"
        write_answers(db, select, question, form, None, Path(folder), _iso)
        for database in databases_of(run):
            _say(f"kept in {store_answers(db, run, question, kept.done_to, database)}")
        return found.differing


def _stream_answers(
    db: duckdb.DuckDBPyConnection, run: Run, question: Question, by_jobs: list[AskedBy]
) -> Answers | None:
    """Read what the stream has answered; None where Kafka does not tell, or has nothing."""
    try:
        with RunRecords(db, run, KafkaSettings(), [question], only="results") as records:
            records.read()
        found = find_answers(db, [question], by_jobs, Wanted())
    except StreamproofError as error:
        _say(f"not compared with the stream's answers: {error}")
        return None
    if not found:
        _say(f"the stream has no answers to {question.name} of run {run.run}")
    return found[0] if found else None


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _iso(column: str) -> str:
    return f"strftime({quoted(column)}, '%Y-%m-%dT%H:%M:%S.%gZ')"


@contextmanager
def _answers(question: Question, run: str | None, files: dict[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    if run:
        home = HomeSettings()
        of_run = load_run(run, home).with_files(files)
        with rows_from_files(of_run, [question], home) as db:
            compute_truth(db, of_run, question, "answers")
            note_asked(run, question, home)
            yield db
    elif files:
        with open_database(Path(tempfile.gettempdir())) as db:
            compute_truth(
                db, read_files(db, question, load_contract(question.header.stream), files, ""), question, "answers"
            )
            yield db
    else:
        raise UsageError("nothing to read: name the files, CATEGORY=FILE, or a run, --run RUN")
