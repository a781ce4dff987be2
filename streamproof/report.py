"""The command ``report``: one page in HTML that needs nothing else. The verdict, charts, what ran, the settings."""

import importlib.metadata
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import duckdb
import plotly.graph_objects as go
import typer
from plotly.io import to_html

from flink_jobs.records import find_record
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.batch_answers import rows_from_files
from streamproof.chain.late_rows import late_rows
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run, load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.whole_file import write_whole
from streamproof.dashboard import charts
from streamproof.dashboard.ranks import Scene, saved_scene
from streamproof.dashboard.words import moment, name_of_key, say_count, say_lake, shown
from validation.answers import Answers, Wanted
from validation.cli import WAIT_SECONDS, JobOption, RunArgument, SizeOption, SlideOption
from validation.comparison import add_judged, create_judged
from validation.live.lake_batch import lake_batches
from validation.live.results import QuestionResults, Table
from validation.live.whole_run import answer_whole_run, asked_of
from validation.report import render
from validation.verdict import Verdict, validate

_LINES = 3
_HEIGHT = 360
"""Pixels."""
_VERSIONS = ("apache-flink", "nipyapi", "paho-mqtt", "confluent-kafka", "duckdb", "plotly")


def report(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="The file to write. Default: report.html beside the manifest.")
    ] = None,
    job: JobOption = None,
    size: SizeOption = None,
    slide: SlideOption = None,
) -> None:
    """Judge a run and write one HTML page that needs no network: verdict, charts, what ran, settings."""
    home, kafka = HomeSettings(), KafkaSettings()
    wanted, drawings = Wanted.parse(job, size, slide), Drawings()
    verdict = validate(
        run, home, kafka, wanted=wanted, wait=WAIT_SECONDS, late=late_rows, stages=STAGES, look=drawings.draw
    )
    page = output or home.runs / run / "report.html"
    write_run_report(verdict, home, drawings, page)
    console.print(f"report: {page} ({'PROVEN' if verdict.proven else 'NOT PROVEN'})", markup=False, soft_wrap=True)


class Drawings:
    """What is drawn of each question that was judged.

    Attributes:
        judged: the answers that were.
        charts: plotly's, by the question's name and each by its caption.
        scenes: ranks window by window, by the question's name, for assets/ranks.js.
        newest: the last whole window, the batch's value beside the stream's, by the question's name, with a caption.

    """

    def __init__(self) -> None:
        self.judged: list[Answers] = []
        self.newest: dict[str, tuple[str, Table]] = {}
        self.charts: dict[str, dict[str, go.Figure]] = {}
        self.scenes: dict[str, Scene] = {}

    def draw(self, db: duckdb.DuckDBPyConnection, judged: list[Answers]) -> None:
        """Draw what the questions' files ask for, of the answers that were judged."""
        self.judged = judged
        for answers in judged:
            question, results = answers.question, QuestionResults(db, answers)
            closed_by = _closed_by(db)
            if (end := results.newest(closed_by)) is not None:
                caption = f"The last whole window: {moment(answers.start_of(end))} to {moment(end)}"
                self.newest[question.name] = caption, results.window(end, beside=results.value)
            if "line" in question.header.page.draw and (figures := _charts_of(results, answers)):
                self.charts[question.name] = figures
            if {"bars", "map"} & {*question.header.page.draw}:
                create_judged(db, answers)
                add_judged(db, answers, f"compared_{answers.number}")
                if scene := saved_scene(db, answers, results, closed_by):
                    self.scenes[question.name] = scene


def write_run_report(verdict: Verdict, home: HomeSettings, drawings: Drawings, output: Path) -> None:
    """Write the page of a run that was judged.

    Args:
        verdict: what was found.
        home: where the run's manifest is.
        drawings: what was drawn of its answers.
        output: the file to write; it appears when it is whole.

    Raises:
        StreamproofError: the file cannot be written.

    """
    run = load_run(verdict.run, home)
    asked = asked_of(run, home)
    of_run = [*(each.question for each in drawings.judged), *asked]
    with rows_from_files(run, asked, home) if asked else nullcontext() as db:
        batch = [answer_whole_run(db, run, question) for question in asked] if db else []
    # The first chart brings plotly's own code along, so that the page needs no network.
    drawn: dict[str, dict[str, str]] = {}
    for name, figures in drawings.charts.items():
        drawn[name] = {
            caption: to_html(
                figure,
                full_html=False,
                include_plotlyjs=not drawn and number == 0,
                default_height=figure.layout.height or _HEIGHT,
            )
            for number, (caption, figure) in enumerate(figures.items())
        }
    template = Path(__file__).with_name("run_report.html")  # it extends validation's report.html
    page = render(
        verdict,
        template,
        run=run,
        charts=drawn,
        scenes=drawings.scenes,
        newest=drawings.newest,
        batch=batch,
        lake=lake_batches(run.run, of_run, home),
        say_lake=say_lake,
        shown=shown,
        say_count=say_count,
        style=_assets("colours.css", "charts.css", *(["ranks.css"] if drawings.scenes else [])),
        script=_assets("world_outline.js", "ranks.js"),
        ran=_what_ran(verdict, run),
    )
    try:
        write_whole(output, page)
    except OSError as error:
        raise StreamproofError(f"the report cannot be written to {output}: {error.strerror}") from error


def _assets(*names: str) -> str:
    return "\n".join((Path(charts.__file__).parent / "assets" / name).read_text(encoding="utf-8") for name in names)


def _charts_of(results: QuestionResults, answers: Answers) -> dict[str, go.Figure]:
    value, span = results.value, results.span(None, 0)
    if value is None or span is None:
        return {}
    keys = results.search("", _LINES)
    series = {name_of_key(results.key, key): results.series(key, value, span) for key in keys}
    lines, bounds = charts.lines_chart(series, value), results.bounds(value)
    lines.update_layout(height=charts.lines_height(series, lines))
    of_which = f" of the {len(keys)} with most {results.weight}" if results.key else ""
    return {
        f"{value}{of_which}, window by window{charts.said_of_bands(results, span)}": lines,
        f"How many answers have which {value}":
            charts.distribution_chart(results.distribution(value, bounds), None, bounds, value),
        f"What is in each window of {answers.windows}: answers, and {results.weight}"
        f"{charts.said_of_means(results, span)}":
            charts.size_chart(results.sizes(span), results.weight),
    }  # fmt: skip


def _closed_by(db: duckdb.DuckDBPyConnection) -> int:
    """Return up to when all of the run's windows are whole: milliseconds since the epoch."""
    found = db.execute("SELECT epoch_ms(max(event_time)) + 1 FROM sent").fetchone()
    return found[0] or 0 if found else 0


def _what_ran(verdict: Verdict, run: Run) -> dict[str, str]:
    pace = f"{float(run.interval):g} ms between two rows of a category" if run.interval else "the file's own time"
    found = {
        "begun": moment(round(run.created.timestamp() * 1000)),
        "state": run.state,
        "clock": {"wall": "wall clock", "virtual": "virtual clock, as fast as the chain takes it"}[run.clock],
        "pace": pace + (f", {float(run.speed):g} times as fast" if run.speed else ""),
        "event time": f"from {moment(run.start)}" if run.start is not None else "the file's own",
        "rows a message": f"up to {run.batch_rows}, within {run.batch_ms} ms",
        "confirmed by": run.confirm,
    }
    for number, label in enumerate(dict.fromkeys(each.job for each in verdict.questions.values())):
        if job := find_record(label):
            options = job.options
            found[f"job {number + 1}" if number else "job"] = (
                f"{job.name}; parallelism {options.parallelism}, a checkpoint each {options.checkpoint_interval} ms"
            )
    installed = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _VERSIONS)
    return found | {"versions": f"{installed} (installed at {datetime.now(UTC):%Y-%m-%d})"}
