"""What only the batch answers, beside the stream's answers: questions about a whole run."""

from typing import Any

from dash import Dash, Input, Output, State, html, no_update

from streamproof.dashboard.attributes import attributes
from streamproof.dashboard.tables import answers_table
from streamproof.dashboard.words import say_count, say_lake
from validation.live.reader import Picture, Reader
from validation.live.whole_run import BatchAnswers

_HIDDEN = {"display": "none"}


def renew_batch(app: Dash, reader: Reader) -> None:
    """Let the page show the batch's answers once a run has ended; the section is hidden where nothing was asked."""

    @app.callback(
        Output("batch", "children"),
        Output("batch-section", "style"),
        Output("batch-shown", "data"),
        Input("slow-tick", "n_intervals"),
        State("batch-shown", "data"),
    )
    def batch(_ticks: int | None, known: list[Any] | None) -> tuple[Any, Any, Any]:
        picture = reader.picture
        lake = {name: found.made_at.isoformat() for name, found in picture.lake.items()}
        of_batch = [[each.question.label, each.total, lake.get(each.question.name)] for each in picture.batch]
        to_show = [picture.run and picture.run.run, of_batch]
        if to_show == known:
            return (no_update,) * 3
        return [_card(picture, each) for each in picture.batch], {} if picture.batch else _HIDDEN, to_show


def _card(picture: Picture, answers: BatchAnswers) -> html.Div:
    question, run = answers.question, picture.run and picture.run.run
    if answers.problem:
        content: list[Any] = [html.P(answers.problem)]
    else:
        says = f"{say_count(answers.total, len(answers.first.rows))}: "
        command = html.Code(f"streamproof batch {question.name} --run {run}")
        table = html.Div(answers_table(answers.first, question.key), className="scroll", tabIndex=0)
        content = [table, html.P([says, command], className="quiet")]
    if found := picture.lake.get(question.name):
        content.append(html.P(say_lake(found), className="quiet"))
    return html.Div([html.H3(question.title), *content], **attributes(data_question=question.name))
