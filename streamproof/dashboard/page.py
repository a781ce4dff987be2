"""The page: its layout, and what renews it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update

from streamproof.chain.health import PartHealth
from streamproof.dashboard import charts
from streamproof.dashboard.attributes import attributes, link_to
from streamproof.dashboard.batch_card import renew_batch
from streamproof.dashboard.chain_picture import chain_picture
from streamproof.dashboard.dead_letter_list import letter_detail, letter_links, reasons_table
from streamproof.dashboard.parts import figure, section
from streamproof.dashboard.question_card import question_sections, question_stores, renew_questions
from streamproof.dashboard.verdict_card import LISTED, difference_detail, differences, how_it_is_known, verdict_card
from streamproof.dashboard.words import moment
from validation.live.reader import RATE_SECONDS, Picture, Reader

_TICK_MS, _CHARTS_MS = 1000, 3000

Parts = Callable[[], dict[str, PartHealth]]


def make_page(reader: Reader, parts: Parts) -> Dash:
    """Return the page.

    Args:
        reader: what is known of the run.
        parts: how the servers are.

    """
    app = Dash(__name__, title="streamproof", update_title="", suppress_callback_exceptions=True)
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    app.layout = _layout
    _renew_status(app, reader, parts)
    _renew_answers(app, reader)
    renew_questions(app, reader)
    renew_batch(app, reader)
    _renew_dead_letters(app, reader)
    return app


def _layout() -> html.Div:
    return html.Div(
        [
            html.A("To the verdict", href="#verdict-title", className="skip"),
            html.Header([html.H1("streamproof"), html.P(id="run"), html.P(id="clock")]),
            html.Main(
                [
                    html.Div(id="notice"),
                    section("verdict", "The verdict", html.Div(id="verdict"), how_it_is_known()),
                    section(
                        "chain", "The chain", html.Div(id="chain"), figure("rates", "Rows into Kafka, a second", 180)
                    ),
                    section("answers", "Answers that are not right", *_answers()),
                    *question_sections(),
                    section("batch", "Answered by the batch alone", html.Div(id="batch")),
                    section("letters", "Dead letters", *_letters()),
                    html.P(
                        "Counts are exact, from every record in Kafka; while a run goes on, the edge's own are up to "
                        "two seconds older. The verdict for the record, in files: streamproof validate RUN",
                        className="foot",
                    ),
                ]
            ),
            dcc.Interval(id="tick", interval=_TICK_MS),
            dcc.Interval(id="slow-tick", interval=_CHARTS_MS),
            *question_stores(),
            # What is opened stands in the address: a click on a list that is drawn anew at that moment is not lost.
            dcc.Location(id="opened", refresh=False),
            # What a list shows: it is drawn anew only when that changes, or a click could fall between two drawings.
            *(dcc.Store(id=f"{shown}-shown") for shown in ("wrong", "letters", "answer", "letter", "batch")),
        ]
    )


def _answers() -> list[Any]:
    return [html.Ul(id="wrong", className="list"), html.Div(id="wrong-detail", **attributes(aria_live="polite"))]


def _letters() -> list[Any]:
    return [
        html.Div(id="reasons"),
        html.Ul(id="letters", className="list"),
        html.Div(id="letter-detail", **attributes(aria_live="polite")),
    ]


def _renew_status(app: Dash, reader: Reader, parts: Parts) -> None:
    @app.callback(
        Output("run", "children"),
        Output("clock", "children"),
        Output("notice", "children"),
        Output("verdict", "children"),
        Output("chain", "children"),
        Input("tick", "n_intervals"),
    )
    def status(_ticks: int | None) -> tuple[Any, ...]:
        picture, health = reader.picture, parts()
        return (
            _about(picture),
            _clock(picture),
            _notice(picture, health),
            verdict_card(picture),
            chain_picture(picture, health),
        )

    @app.callback(Output("rates", "figure"), Output("rates-caption", "children"), Input("slow-tick", "n_intervals"))
    def rates(_ticks: int | None) -> tuple[Any, str]:
        caption = f"Rows into Kafka, each second; the last {RATE_SECONDS // 60} minutes in which any came (UTC)"
        return charts.rate_chart(reader.picture.rates), caption


def _renew_answers(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("wrong", "children"),
        Output("wrong-shown", "data"),
        Input("slow-tick", "n_intervals"),
        State("wrong-shown", "data"),
    )
    def wrong(_ticks: int | None, shown: Any) -> tuple[Any, Any]:
        picture = reader.picture
        names = [name for name, _ in differences(picture)[:LISTED]]
        to_show = [names, picture.answers_not_right]
        if to_show == shown:
            return no_update, no_update
        links = [html.Li(html.A(name, href=link_to("answer", name), className="row-link"), key=name) for name in names]
        if (more := picture.answers_not_right - len(names)) > 0:
            links.append(html.Li(f"These are the first; there are {more:,} more."))
        return links or [html.Li("None.")], to_show

    # What an address names may not be known yet when it is opened.
    @app.callback(
        Output("wrong-detail", "children"),
        Output("answer-shown", "data"),
        Input("opened", "hash"),
        Input("slow-tick", "n_intervals"),
        State("answer-shown", "data"),
    )
    def open_answer(opened: str | None, _ticks: int | None, shown: str | None) -> tuple[Any, Any]:
        for name, difference in differences(reader.picture) if opened != shown else ():
            if link_to("answer", name) == opened:
                return difference_detail(name, difference, reader.rows_of(difference)), opened
        return no_update, no_update


def _renew_dead_letters(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("reasons", "children"),
        Output("letters", "children"),
        Output("letters-shown", "data"),
        Input("slow-tick", "n_intervals"),
        State("letters-shown", "data"),
    )
    def letters(_ticks: int | None, shown: list[int] | None) -> tuple[Any, Any, Any]:
        known = reader.picture.dead_letters
        to_show = [known.of_run, known.without_run]
        if to_show == shown:
            return no_update, no_update, no_update
        return reasons_table(known), letter_links(known.newest), to_show

    @app.callback(
        Output("letter-detail", "children"),
        Output("letter-shown", "data"),
        Input("opened", "hash"),
        Input("slow-tick", "n_intervals"),
        State("letter-shown", "data"),
    )
    def open_letter(opened: str | None, _ticks: int | None, shown: str | None) -> tuple[Any, Any]:
        for letter in reader.picture.dead_letters.newest if opened != shown else ():
            if link_to("letter", letter.place) == opened:
                return letter_detail(letter), opened
        return no_update, no_update


def _about(picture: Picture) -> str:
    if picture.run is None:
        return "no run yet"
    run = picture.run
    pace = f"{run.clock} clock"
    return f"run {run.run}, {run.state}; {run.contract.name}: {', '.join(run.sources)}; {pace}"


def _clock(picture: Picture) -> str:
    now = f"{datetime.now(UTC):%H:%M:%S} UTC"
    if picture.event_time:
        now += f"; event time {moment(picture.event_time)}"
    return now + ("; reading the past of the run" if picture.is_behind else "")


def _notice(picture: Picture, health: dict[str, PartHealth]) -> Any:
    away = [part for part, how in health.items() if how.is_up is False and not how.lacks]
    lines = []
    if health and len(away) == len(health):
        lines.append(html.P(["The servers are away. Start them: ", html.Code("streamproof up")]))
    elif away:
        lines.append(html.P(f"Away: {', '.join(away)}. Rows wait where they are; what was counted so far stays."))
    lines += [
        html.P([f"{part}, {how.lacks}: ", html.Code(how.says)])
        for part, how in health.items()
        if how.is_up is False and how.lacks
    ]
    if picture.run is None:
        lines.append(
            html.P(["There is no run yet. Begin one: ", html.Code("streamproof demo"), " or streamproof replay …"])
        )
    elif picture.problem and not away:
        lines.append(html.P(picture.problem))
    return html.Div(lines, className="notice", role="alert") if lines else None
