"""The card of a question: its verdict, its newest window, lines over time, ranks and alerts."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from streamproof.core.question import Page, Question
from streamproof.dashboard import charts
from streamproof.dashboard.attributes import attributes, link_to
from streamproof.dashboard.parts import figure, section
from streamproof.dashboard.ranks import Ranks, behind
from streamproof.dashboard.tables import answers_table, table
from streamproof.dashboard.verdict_card import difference_detail, judge_question, name_of
from streamproof.dashboard.words import moment, name_of_key, say_lake, shown
from validation.live.lake_batch import LakeBatch
from validation.live.live_verdict import SoFar
from validation.live.reader import Picture, Reader
from validation.live.results import Mover, QuestionResults

_ALL = ""
_MOST_LINES, _DEFAULT_LINES = 6, 3
_MOST_CATEGORIES = 12
"""Up to so many there is a button for each; more are found by the search."""
_NEWEST_WINDOWS = 60
_HIDDEN = {"display": "none"}
_DRAWINGS = {"table": {"table"}, "line": {"line"}, "ranks": {"bars", "map"}}
_ALERT_SIGNS = {"firing": "●", "pending": "◐", "resolved": "✓", "withdrawn": "○"}
_DIFFERENCES = 3
"""So many differences between the lake's answers and the stream's are opened."""
_MOST_RANKS = 8
"""Of so many choices of question, column and category it is remembered what was drawn."""


class _Asked(NamedTuple):
    """A question that is looked at, what is known of it, and its results."""

    picture: Picture
    so_far: SoFar
    results: QuestionResults

    @property
    def name(self) -> str:
        return self.so_far.answers.question.name

    @property
    def page(self) -> Page:
        return self.so_far.answers.question.header.page


def question_sections() -> list[html.Section]:
    """Return the list of questions, and the card of the one that is chosen."""
    return [
        section("questions", "Questions", html.Nav(id="questions", **attributes(aria_label="questions"))),
        section(
            "question",
            "",
            html.P(id="question-says", className="quiet"),
            html.Div(id="question-verdict"),
            html.Div(id="question-lake"),
            html.Div(id="alerts"),
            html.Div(
                [
                    html.Div(id=name, className="chips", role="group", **attributes(aria_label=label))
                    for name, label in (("columns", "what is drawn"), ("categories", "category"))
                ],
                className="controls",
            ),
            # The question's file says which of these are drawn, and in which order.
            html.Div(
                [
                    html.Div(
                        [html.H3(id="newest"), html.Div(id="newest-window", className="scroll", tabIndex=0)],
                        id="drawn-table",
                    ),
                    html.Div(_lines(), id="drawn-line"),
                    html.Div(
                        [
                            html.H3(id="ranks-title"),
                            html.Div(id="ranks"),
                            html.Div(id="rows-behind", **attributes(aria_live="polite")),
                        ],
                        id="drawn-ranks",
                    ),
                ],
                className="drawings",
            ),
        ),
    ]


def question_stores() -> list[dcc.Store]:
    """Return what a browser remembers of its choices."""
    return [
        dcc.Store(id="version"),
        dcc.Store(id="question", data=""),
        dcc.Store(id="category", data=_ALL),
        dcc.Store(id="span", data=_ALL),
        # By question: the column that is drawn, and the keys.
        dcc.Store(id="column", data={}),
        dcc.Store(id="chosen", data={}),
        # What a list shows: it is drawn anew only when that changes, or a click could fall between two drawings.
        *(dcc.Store(id=f"{shown}-shown") for shown in ("questions", "choices", "found", "chosen", "ranks", "lake")),
        *(dcc.Store(id=f"{drawn}-{what}") for drawn in ("ranks", "rows") for what in ("scene", "drawn")),
        dcc.Store(id="rows-opened"),
    ]


def renew_questions(app: Dash, reader: Reader) -> None:
    """Let the page renew its questions from what the reader knows."""
    _renew_list(app, reader)
    _renew_choices(app, reader)
    _renew_lines(app, reader)
    _renew_newest(app, reader)
    _renew_ranks(app, reader)


def _lines() -> list[Any]:
    return [
        html.Div(
            [
                html.Div(id="spans", className="chips", role="group", **attributes(aria_label="how much")),
                html.Label("Search", id="search-label", htmlFor="search"),
                dcc.Input(id="search", type="search", debounce=0.4, value="", autoComplete="off"),
            ],
            className="controls",
        ),
        html.Ul(id="found", className="chips", **attributes(aria_label="found")),
        html.Ul(id="chosen-list", className="chips chosen", **attributes(aria_label="shown in the chart")),
        figure("lines", "Over time", 340),
        html.Div(
            [figure("distribution", "Distribution", 300), figure("sizes", "What lies in each window", 300)],
            className="pair",
        ),
        html.H3("Most changed", id="most-changed-title"),
        html.Div(id="most-changed", className="scroll", tabIndex=0),
    ]


def _asked(reader: Reader, question: str, category: str = _ALL) -> _Asked | None:
    picture, db = reader.picture, reader.database()
    if db is None or picture.run is None or not picture.questions:
        return None
    so_far = picture.questions.get(question) or next(iter(picture.questions.values()))
    return _Asked(picture, so_far, QuestionResults(db, so_far.answers, category or None))


def _renew_list(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("version", "data"),
        Input("slow-tick", "n_intervals"),
        State("version", "data"),
    )
    def version(_ticks: int | None, known: Any) -> Any:
        picture = reader.picture
        jobs = [[name, each.answers.job] for name, each in picture.questions.items()]
        present = [picture.run.run if picture.run else None, jobs, picture.results_read]
        return no_update if present == known else present

    @app.callback(Output("question", "data"), Input("opened", "hash"))
    def choose_question(opened: str | None) -> Any:
        known = reader.picture.questions
        prefix = link_to("question", "")
        name = (opened or "").removeprefix(prefix)
        is_known = name in known or not known  # before anything is read, it may come to be known
        return name if (opened or "").startswith(prefix) and is_known else no_update

    @app.callback(
        Output("questions", "children"),
        Output("questions-section", "style"),
        Output("questions-shown", "data"),
        Input("slow-tick", "n_intervals"),
        Input("question", "data"),
        State("questions-shown", "data"),
    )
    def questions(_ticks: int | None, chosen: str, shown: Any) -> tuple[Any, Any, Any]:
        picture = reader.picture
        at = chosen if chosen in picture.questions else next(iter(picture.questions), "")
        judged = {name: judge_question(picture, each) for name, each in picture.questions.items()}
        if (to_show := [at, *([name, *each] for name, each in judged.items())]) == shown:
            return (no_update,) * 3
        cards = [
            _link(each.answers.question, judged[name], is_chosen=name == at) for name, each in picture.questions.items()
        ]
        return cards, {} if len(cards) > 1 else _HIDDEN, to_show

    @app.callback(
        Output("question-title", "children"),
        Output("question-says", "children"),
        Output("question-verdict", "children"),
        Input("slow-tick", "n_intervals"),
        Input("question", "data"),
    )
    def head(_ticks: int | None, question: str) -> tuple[Any, ...]:
        if (asked := _asked(reader, question)) is None:
            return "The question", "None was asked of this run yet.", None
        answers = asked.so_far.answers
        key = ", ".join(answers.question.key)
        says = [
            html.Code(answers.question.name),
            f", windows of {answers.windows}, ",
            f"one answer for each {key}" if key else "one answer for each window",
            f"; job {answers.job}",
        ]
        return answers.question.title, says, _verdict(*judge_question(asked.picture, asked.so_far))

    @app.callback(
        Output("question-lake", "children"),
        Output("lake-shown", "data"),
        Input("slow-tick", "n_intervals"),
        Input("question", "data"),
        State("lake-shown", "data"),
    )
    def of_lake(_ticks: int | None, question: str, known: Any) -> tuple[Any, Any]:
        asked = _asked(reader, question)
        found = asked and asked.picture.lake.get(asked.name)
        to_show = [question, found and found.made_at.isoformat()]
        if to_show == known:
            return no_update, no_update
        return (_lake(reader, asked.name, found) if asked and found else None), to_show


def _renew_choices(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("columns", "children"),
        Output("categories", "children"),
        Output("spans", "children"),
        Output("search-label", "children"),
        *(Output(f"drawn-{drawing}", "style") for drawing in _DRAWINGS),
        Output("choices-shown", "data"),
        Input("question", "data"),
        Input("column", "data"),
        Input("category", "data"),
        Input("span", "data"),
        Input("version", "data"),
        State("choices-shown", "data"),
    )
    def choices(
        question: str, columns: dict[str, str], category: str, span: str, _version: Any, shown: Any
    ) -> tuple[Any, ...]:
        if (asked := _asked(reader, question)) is None or asked.picture.run is None:
            return (no_update,) * 8
        results, names = asked.results, [_ALL, *asked.picture.run.sources]
        if "category" not in results.key or len(asked.picture.run.sources) not in range(2, _MOST_CATEGORIES + 1):
            names = []
        column = columns.get(asked.name, results.value)
        if (to_show := [asked.name, column, results.numbers, category, names, span]) == shown:
            return (no_update,) * 8
        spans = {_ALL: "the whole run", str(_NEWEST_WINDOWS): f"the newest {_NEWEST_WINDOWS} windows"}
        return (
            _buttons("column", {name: name for name in results.numbers if len(results.numbers) > 1}, column),
            _buttons("category", {name: name or "all categories" for name in names}, category),
            _buttons("span", spans, span),
            f"Search: {' or '.join(results.key)} begins with",
            *(_place(asked, drawing) for drawing in _DRAWINGS),
            to_show,
        )

    for kind in ("category", "span"):

        @app.callback(Output(kind, "data"), Input({"type": kind, "name": ALL}, "n_clicks"), prevent_initial_call=True)
        def choose(clicks: list[int]) -> Any:
            which = ctx.triggered_id
            return which["name"] if any(clicks) and isinstance(which, dict) else no_update

    @app.callback(
        Output("column", "data"),
        Input({"type": "column", "name": ALL}, "n_clicks"),
        State("question", "data"),
        State("column", "data"),
        prevent_initial_call=True,
    )
    def choose_column(clicks: list[int], question: str, columns: dict[str, str]) -> Any:
        which, asked = ctx.triggered_id, _asked(reader, question)
        if not any(clicks) or not isinstance(which, dict) or asked is None:
            return no_update
        return columns | {asked.name: which["name"]}


def _renew_lines(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("found", "children"),
        Output("found-shown", "data"),
        Input("search", "value"),
        Input("question", "data"),
        Input("category", "data"),
        Input("version", "data"),
        State("found-shown", "data"),
    )
    def search(begin: str | None, question: str, category: str, _version: Any, shown: Any) -> tuple[Any, Any]:
        asked = _asked(reader, question, category)
        found = [list(key) for key in asked.results.search((begin or "").strip()) if key] if asked else []
        to_show = [asked and asked.name, begin, found]
        if to_show == shown:
            return no_update, no_update
        if asked is None:
            return [html.Li("No results yet.")], to_show
        if not found:
            return [html.Li(f"Nothing begins with {begin!r}.")] if begin else [], to_show
        return [_key_button("add", asked.results.key, key) for key in found], to_show

    @app.callback(
        Output("chosen", "data"),
        Input({"type": "add", "key": ALL}, "n_clicks"),
        Input({"type": "remove", "key": ALL}, "n_clicks"),
        State("question", "data"),
        State("chosen", "data"),
        prevent_initial_call=True,
    )
    def choose(added: list[int], removed: list[int], question: str, chosen: dict[str, list[Any]]) -> Any:
        which, asked = ctx.triggered_id, _asked(reader, question)
        is_click = (any(added) or any(removed)) and ctx.triggered[0]["value"]
        if not isinstance(which, dict) or not is_click or asked is None:
            return no_update
        key = json.loads(which["key"])
        others = [each for each in chosen.get(asked.name, []) if each != key]
        return chosen | {asked.name: [*others, key][-_MOST_LINES:] if which["type"] == "add" else others}

    @app.callback(
        Output("chosen-list", "children"),
        Output("chosen-shown", "data"),
        Input("chosen", "data"),
        Input("question", "data"),
        Input("version", "data"),
        State("chosen-shown", "data"),
    )
    def chosen_list(chosen: dict[str, list[Any]], question: str, _version: Any, shown: Any) -> tuple[Any, Any]:
        asked = _asked(reader, question)
        keys = chosen.get(asked.name, []) if asked else []
        if (to_show := [asked and asked.name, keys]) == shown:
            return no_update, no_update
        if asked is None or not asked.results.key:
            return [], to_show
        if not keys:
            how = f"Until you choose, those with most {asked.results.weight} in the whole run are shown."
            return [html.Li(how)], to_show
        return [_key_button("remove", asked.results.key, key) for key in keys], to_show

    @app.callback(
        Output("lines", "figure"),
        Output("lines", "style"),
        Output("lines-caption", "children"),
        Output("sizes", "figure"),
        Output("sizes-caption", "children"),
        Input("question", "data"),
        Input("column", "data"),
        Input("chosen", "data"),
        Input("category", "data"),
        Input("span", "data"),
        Input("version", "data"),
    )
    def lines(
        question: str, columns: dict[str, str], chosen: dict[str, list[Any]], category: str, wanted: str, _version: Any
    ) -> tuple[Any, ...]:
        of_category, asked = _asked(reader, question, category), _asked(reader, question)
        if of_category is None or asked is None or (column := _column(asked, columns)) is None:
            return (no_update,) * 5
        if "line" not in asked.page.draw:
            return (no_update,) * 5
        closed_by = asked.picture.event_time + 1
        span = asked.results.span(int(wanted) if wanted else None, closed_by)
        if span is None:
            return (no_update,) * 5
        keys = [tuple(key) for key in chosen.get(asked.name, [])] or of_category.results.search("", _DEFAULT_LINES)
        series = {name_of_key(asked.results.key, key): asked.results.series(key, column, span) for key in keys}
        drawn = charts.lines_chart(series, column)
        weight = asked.results.weight
        return (
            drawn,
            {"height": charts.lines_height(series, drawn)},
            f"{column} over time, at the end of each window (UTC){charts.said_of_bands(asked.results, span)}",
            charts.size_chart(of_category.results.sizes(span), weight),
            f"Answers and {weight} in each window{charts.said_of_means(asked.results, span)}",
        )


def _renew_newest(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("distribution", "figure"),
        Output("distribution-caption", "children"),
        Output("newest", "children"),
        Output("newest-window", "children"),
        Output("most-changed-title", "children"),
        Output("most-changed", "children"),
        Output("alerts", "children"),
        Input("question", "data"),
        Input("column", "data"),
        Input("category", "data"),
        Input("version", "data"),
    )
    def newest_window(question: str, columns: dict[str, str], category: str, _version: Any) -> tuple[Any, ...]:
        if (asked := _asked(reader, question, category)) is None:
            return (no_update,) * 7
        results, answers = asked.results, asked.so_far.answers
        end = results.newest(asked.picture.event_time + 1)
        if end is None:
            return (charts.rate_chart({}), "", "No results yet", None, "", None, _alerts(results))
        newest = f"The newest whole window: {moment(answers.start_of(end))} to {moment(end)}"
        column = _column(asked, columns)
        beside = column if asked.so_far.is_judging else None
        shown = answers_table(results.window(end, beside=beside), results.key)
        if column is None or "line" not in asked.page.draw:
            return charts.rate_chart({}), "", newest, shown, "", None, _alerts(results)
        bounds = results.bounds(column)
        before = results.distribution(column, bounds, end - answers.question.result_window.size)
        return (
            charts.distribution_chart(results.distribution(column, bounds, end), before, bounds, column),
            f"Answers by {column}: the newest window and the one before",
            newest,
            shown,
            f"Most changed: {column}, against the window before",
            _movers(results.most_changed(column, end), results, column),
            _alerts(results),
        )


def _renew_ranks(app: Dash, reader: Reader) -> None:
    known: dict[Any, Ranks] = {}

    @app.callback(
        Output("ranks-scene", "data"),
        Output("ranks-title", "children"),
        Output("ranks-shown", "data"),
        Input("slow-tick", "n_intervals"),
        Input("question", "data"),
        Input("column", "data"),
        Input("category", "data"),
        State("ranks-shown", "data"),
    )
    def ranks(
        _ticks: int | None, question: str, columns: dict[str, str], category: str, shown: Any
    ) -> tuple[Any, Any, Any]:
        asked = _asked(reader, question, category)
        if asked is None or not _DRAWINGS["ranks"] & {*asked.page.draw} or (column := _column(asked, columns)) is None:
            return (no_update,) * 3
        so_far, run = asked.so_far, asked.picture.run
        drawn = [run and run.run, asked.name, so_far.answers.job, column, category]
        to_show = [*drawn, asked.picture.results_read, so_far.judged_to, so_far.counts.model_dump()]
        if to_show == shown:
            return (no_update,) * 3
        of_it = known.pop(tuple(drawn), Ranks())
        scene = of_it.scene(
            so_far.answers.question,
            asked.results,
            column,
            closed_by=asked.picture.event_time + 1,
            judged_to=so_far.judged_to,
        )
        known[tuple(drawn)] = of_it
        while len(known) > _MOST_RANKS:
            known.pop(next(iter(known)), None)
        return scene, f"Ranks: {column}, window by window", to_show

    @app.callback(
        Output("rows-scene", "data"),
        Output("rows-opened", "data"),
        Input("opened", "hash"),
        Input("slow-tick", "n_intervals"),
        State("rows-opened", "data"),
    )
    def open_rows(opened: str | None, _ticks: int | None, known: str | None) -> tuple[Any, Any]:
        """Answer a click on a bar or a mark: its rows over time; what is not there yet is looked for again."""
        if opened == known or not (opened or "").startswith(prefix := link_to("rows", "")):
            return no_update, no_update
        try:
            question, end, *key = json.loads(unquote((opened or "").removeprefix(prefix)))
        except ValueError:
            return no_update, no_update
        asked, db = _asked(reader, question), reader.database()
        if asked is None or db is None or asked.name != question or len(key) != len(asked.results.key):
            return no_update, no_update
        so_far = asked.so_far
        rows = behind(db, so_far.answers, asked.results, end=end, key=tuple(key), judged_to=so_far.judged_to)
        return (rows, opened) if rows else (no_update, no_update)

    for drawn in ("ranks", "rows"):
        app.clientside_callback(
            ClientsideFunction("streamproof", drawn), Output(f"{drawn}-drawn", "data"), Input(f"{drawn}-scene", "data")
        )


def _place(asked: _Asked, drawing: str) -> dict[str, Any]:
    """Return where in the card a drawing stands, as its question's file says; it may not be there at all."""
    places = [place for place, each in enumerate(asked.page.draw) if each in _DRAWINGS[drawing]]
    if asked.results.value is None:  # without numbers the table is all that there is
        return {} if drawing == "table" else _HIDDEN
    return {"order": places[0]} if places else _HIDDEN


def _column(asked: _Asked, columns: dict[str, str]) -> str | None:
    chosen = columns.get(asked.name)
    return chosen if chosen in asked.results.numbers else asked.results.value


def _link(question: Question, judged: tuple[str, str, str, str], *, is_chosen: bool) -> html.A:
    state, symbol, word, why = judged
    return html.A(
        [
            html.Strong(question.title),
            html.Span(
                [html.Span(symbol, className="symbol", **attributes(aria_hidden="true")), word], className="word"
            ),
            html.Small(why),
        ],
        href=link_to("question", question.name),
        className=f"question {state}",
        **attributes(aria_current=str(is_chosen).lower(), data_question=question.name),
    )


def _verdict(state: str, symbol: str, word: str, why: str) -> html.P:
    sign = html.Span(symbol, className="symbol", **attributes(aria_hidden="true"))
    return html.P([html.Strong([sign, word], className="word"), f" {why}"], className=f"question-verdict {state}")


def _lake(reader: Reader, name: str, found: LakeBatch) -> list[Any]:
    first, at = found.not_right[:_DIFFERENCES], moment(round(found.made_at.timestamp() * 1000))
    of_all = f" The first {len(first)} are these." if len(first) < found.differing else ""
    by = "by the lake's batch"
    details = [difference_detail(name_of(name, each), each, reader.rows_of(each), must_be=by) for each in first]
    return [html.P(f"{say_lake(found)}{of_all} It was asked at {at}.", className="quiet"), *details]


def _alerts(results: QuestionResults) -> Any:
    if (listed := results.alerts()) is None:
        return None
    firing, over, breaches = results.count_alerts()
    rows = [
        html.Tr(
            [
                html.Td([html.Strong(_ALERT_SIGNS[each.state]), f" {each.state}"], className=f"alert {each.state}"),
                *(html.Th(html.Code(str(value)), scope="row") for value in each.key),
                html.Td("none" if each.value is None else shown(each.value)),
                *(html.Td("" if at is None else moment(at)) for at in (each.begin, each.fired, each.over)),
                html.Td(f"{each.repeats:,}"),
            ]
        )
        for each in listed
    ]
    titles = ("state", *results.key, results.value or "value", "breached", "fired", "over", "told again")
    drawn = html.Div(table(titles, rows), className="scroll", tabIndex=0) if rows else html.P("No alert was written.")
    said = f"Answers that breach the rule: {breaches:,}."
    return html.Div([html.H3(f"Alerts: {firing:,} firing, {over:,} past"), drawn, html.P(said, className="quiet")])


def _buttons(kind: str, names: dict[str, str], chosen: str | None) -> list[html.Button]:
    return [
        html.Button(
            text,
            id={"type": kind, "name": name},
            n_clicks=0,
            **attributes(aria_pressed=str(name == chosen).lower()),
        )
        for name, text in names.items()
    ]


def _key_button(what: str, names: Sequence[str], key: Sequence[str | None]) -> html.Li:
    sign, title = {"add": ("+ ", "show it in the chart"), "remove": ("✕ ", "take it out of the chart")}[what]
    values = [
        html.Span(f" {value}") if name == "category" else html.Code(f"{value} ")
        for name, value in sorted(zip(names, key, strict=True), key=lambda each: each[0] == "category")
    ]
    return html.Li(
        html.Button([sign, *values], id={"type": what, "key": json.dumps(list(key))}, n_clicks=0, title=title)
    )


def _movers(movers: Sequence[Mover], results: QuestionResults, column: str) -> html.Table:
    weight = [results.weight] if results.weight and results.weight != column else []
    body = [
        html.Tr(
            [
                *(html.Th(html.Code(str(value)), scope="row") for value in each.key),
                *(html.Td(_number(each.weight)) for _ in weight),
                html.Td(_number(each.value)),
                html.Td(_change(each)),
            ]
        )
        for each in movers
    ]
    return table((*results.key, *weight, column, "before"), body)


def _number(value: float | None) -> str:
    return "none" if value is None else shown(int(value) if value.is_integer() else value)


def _change(mover: Mover) -> str:
    if mover.value is None:
        return "-"
    if mover.before is None:
        return "new"
    arrow = "▲" if mover.value > mover.before else "▼" if mover.value < mover.before else "="
    return f"{arrow} {_number(mover.before)}"
