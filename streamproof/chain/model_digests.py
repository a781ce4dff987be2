"""The command ``model digests``: whether a model in a stream has the state of one that was never interrupted."""

import json
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from flink_jobs.records import asked_by
from streamproof.chain.batch_answers import rows_from_files
from streamproof.core.command import console
from streamproof.core.errors import UsageError
from streamproof.core.run import category_files, load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.models.scorer import read_digests
from validation.truth import compute_truth


def digests(
    model: Annotated[str, typer.Argument(help="The model's name.", show_default=False)],
    run: Annotated[str, typer.Argument(help="The run's id.", show_default=False)],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[CATEGORY=FILE]...", help="New places of files that have moved.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Compare the digests of a model's state, in Kafka and in a batch over the files; exit code 1 where one differs."""
    of_run = load_run(run, HomeSettings()).with_files(category_files(files) if files else {})
    found = [
        (record, question)
        for record in asked_by(run, of_run.contract.name)
        for question in record.questions
        if question.name == model and question.model
    ]
    if not found:
        raise UsageError(f"no job that follows run {run} was asked a question with a model {model!r}")
    record, question = found[0]
    with rows_from_files(of_run, [question], HomeSettings()) as db, console.status("going through the files"):
        batch = compute_truth(db, of_run, question, "answers")
    stream = {
        each.rows: each.sha256
        for each in read_digests(record.label, question, of_run.contract, of_run.created, KafkaSettings())
    }
    same = all(stream.get(each.rows) == each.sha256 for each in batch)
    if as_json:
        both = [{"answers": each.rows, "batch": each.sha256, "stream": stream.get(each.rows)} for each in batch]
        typer.echo(json.dumps({"run": run, "model": model, "same": same, "digests": both}))
    else:
        table = Table("answers", "batch", "stream", box=SIMPLE)
        for each in batch:
            table.add_row(f"{each.rows:,}", each.sha256[:16], stream.get(each.rows, "none")[:16])
        Console().print(table)
        typer.echo(f"{len(batch)} digests, {'all the same' if same else 'NOT THE SAME'}")
    raise typer.Exit(0 if same else 1)
