"""The commands of the validation: ``validate``, ``audit`` and ``windows``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from streamproof.core.command import console, new_app
from streamproof.core.duration import parse_duration
from streamproof.core.errors import UsageError
from streamproof.core.run import category_files
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.answers import Wanted
from validation.audit import audit as follow_rows
from validation.export import FOR_PROGRAMS, Format, export_results
from validation.report import print_audit, print_verdict, write_report
from validation.stages import Stages
from validation.verdict import LateRows
from validation.verdict import validate as judge

RunArgument = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
JobOption = Annotated[
    str | None, typer.Option(help="The job whose windows are meant. Default: the one that wrote last for this run.")
]
SizeOption = Annotated[str | None, typer.Option(help="Only windows of this size, like 30s.")]
SlideOption = Annotated[str | None, typer.Option(help="Only windows with this slide, like 5s.")]
QuestionOption = Annotated[
    str | None,
    typer.Option(help="Only this question, by its name or file. Default: all that were asked of the run."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="The form; parquet and xlsx need --output.")]
OutputOption = Annotated[Path | None, typer.Option(help="The file to write. Default: standard output.")]

WAIT_SECONDS = 30.0
"""How long more windows or rows are waited for while any is missing, unless another time is asked for."""


@dataclass(frozen=True)
class Commands:
    """The commands that judge a run.

    Attributes:
        stages: who can tell what NiFi received and what Flink read; by default nobody.
        late_rows: who can tell how many rows a job dropped as late.

    """

    stages: Stages = field(default_factory=Stages)
    late_rows: LateRows | None = None

    def validate(
        self,
        run: RunArgument,
        files: Annotated[
            list[str] | None, typer.Argument(metavar="[CATEGORY=FILE…]", help="Where a file is now that has moved.")
        ] = None,
        job: JobOption = None,
        size: SizeOption = None,
        slide: SlideOption = None,
        question: QuestionOption = None,
        wait: Annotated[
            str, typer.Option(help="While anything is missing, read on until nothing new came for so long; 0 for not.")
        ] = f"{WAIT_SECONDS:g}s",
        json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    ) -> None:
        """Prove that a run lost no row and that each answer is right; exit code 0 only when all is proven."""
        seconds = 0.0 if wait == "0" else float(parse_duration(wait) / 1000)
        home = HomeSettings()
        wanted = Wanted.parse(job, size, slide, question)
        verdict = judge(
            run,
            home,
            KafkaSettings(),
            wanted=wanted,
            wait=seconds,
            late=self.late_rows,
            stages=self.stages,
            files=category_files(files or []),
        )
        page = write_report(verdict, home.runs / run)
        if json:
            typer.echo(verdict.model_dump_json(indent=2))
        else:
            print_verdict(verdict)
        console.print(f"report: {page}", soft_wrap=True)
        if not verdict.proven:
            raise typer.Exit(1)

    def audit(
        self,
        run: RunArgument,
        job: Annotated[
            str | None, typer.Option(help="The job whose reading is meant. Default: the newest that reads this run.")
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="Print the audit as JSON.")] = False,
    ) -> None:
        """Follow a run's rows from stage to stage; exit code 1 when any is lost. Also while the run goes on."""
        found = follow_rows(run, HomeSettings(), KafkaSettings(), job=job, stages=self.stages)
        if json:
            typer.echo(found.model_dump_json(indent=2))
        else:
            print_audit(found)
        if found.rows.lost or any(rows.differing for rows in found.categories.values()):
            raise typer.Exit(1)

    def results(
        self,
        run: RunArgument,
        question: Annotated[
            str | None, typer.Argument(help="The question, by its name or file; not needed where only one was asked.")
        ] = None,
        form: FormatOption = "csv",
        output: OutputOption = None,
        job: JobOption = None,
        size: SizeOption = None,
        slide: SlideOption = None,
    ) -> None:
        """Write a question's results of a run, as CSV, JSON, Parquet or a table for Excel."""
        if form in FOR_PROGRAMS and output is None:
            raise UsageError(f"--format {form} needs --output FILE")
        wanted = Wanted.parse(job, size, slide, question)
        home, kafka = HomeSettings(), KafkaSettings()
        export_results(run, home, kafka, wanted=wanted, form=form, output=output, stages=self.stages)


app = new_app("Prove a run: the batch truth, the delivery audit, the comparison.")
app.command()(Commands().validate)
app.command()(Commands().audit)
app.command()(Commands().results)
app.command("windows")(Commands().results)
