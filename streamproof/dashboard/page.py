"""The page: its layout, and what renews it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from streamproof.chain.health import PartHealth
from streamproof.dashboard import charts
from streamproof.dashboard.attributes import attributes, link_to
from streamproof.dashboard.chain_picture import chain_picture
from streamproof.dashboard.dead_letter_list import letter_detail, letter_links, reasons_table
from streamproof.dashboard.tables import table
from streamproof.dashboard.verdict_card import LISTED, how_it_is_known, name_of, verdict_card, window_detail
from streamproof.dashboard.words import measured, milliseconds_of, moment, thing
from validation.live.ratings import Mover, Windows, sampled_lines, sampled_sizes
from validation.live.reader import RATE_SECONDS, Picture, Reader

_ALL = ""
_MOST_LINES = 6
_DEFAULT_LINES = 3
_TICK_MS, _CHARTS_MS = 1000, 3000
_GRAPH: Any = {"displayModeBar": False, "responsive": True}

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
    _renew_windows(app, reader)
    _renew_ratings(app, reader)
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
                    _section("verdict", "The verdict", html.Div(id="verdict"), how_it_is_known()),
                    _section(
                        "chain", "The chain", html.Div(id="chain"), _figure("rates", "Rows into Kafka, a second", 180)
                    ),
                    _section("windows", "Windows that are not right", *_windows()),
                    _section("ratings", "", *_ratings()),
                    _section("letters", "Dead letters", *_letters()),
                    html.P(
                        "Counts are exact, from every record in Kafka; while a run goes on, the edge's own are up to "
                        "two seconds older. The verdict for the record, in files: streamproof validate RUN",
                        className="foot",
                    ),
                ]
            ),
            dcc.Interval(id="tick", interval=_TICK_MS),
            dcc.Interval(id="slow-tick", interval=_CHARTS_MS),
            dcc.Store(id="version"),
            dcc.Store(id="chosen", data=[]),
            dcc.Store(id="category", data=_ALL),
            # What is opened stands in the address: a click on a list that is drawn anew at that moment is not lost.
            dcc.Location(id="opened", refresh=False),
            # What a list shows: it is drawn anew only when that changes, or a click could fall between two drawings.
            *(dcc.Store(id=f"{shown}-shown") for shown in ("wrong", "categories", "found", "letters")),
        ]
    )


def _section(name: str, title: str, *content: Any) -> html.Section:
    heading = html.H2(title, id=f"{name}-title", tabIndex=-1)
    return html.Section([heading, *content], id=f"{name}-section", **attributes(aria_labelledby=f"{name}-title"))


def _figure(name: str, caption: str, height: int) -> html.Figure:
    """Return a chart with its caption; ``height`` in pixels."""
    graph = dcc.Graph(id=name, config=_GRAPH, figure=charts.rate_chart({}), style={"height": height})
    return html.Figure([html.Figcaption(caption, id=f"{name}-caption"), graph])


def _windows() -> list[Any]:
    return [html.Ul(id="wrong", className="list"), html.Div(id="wrong-detail", **attributes(aria_live="polite"))]


def _ratings() -> list[Any]:
    return [
        html.Div(
            [
                html.Div(id="categories", className="chips", role="group", **attributes(aria_label="category")),
                html.Label("Search", id="search-label", htmlFor="search"),
                dcc.Input(id="search", type="search", debounce=0.4, value="", autoComplete="off"),
            ],
            className="controls",
        ),
        html.Ul(id="found", className="chips", **attributes(aria_label="found")),
        html.Ul(id="chosen-list", className="chips chosen", **attributes(aria_label="shown in the chart")),
        _figure("averages", "Average over time", 340),
        html.Div(
            [_figure("distribution", "Distribution", 300), _figure("sizes", "What lies in each window", 300)],
            className="pair",
        ),
        html.P(id="newest"),
        html.Div(
            [
                html.Div(
                    [html.H3("", id="most-rated-title"), html.Div(id="most-rated", className="scroll", tabIndex=0)]
                ),
                html.Div([html.H3("Most changed"), html.Div(id="most-changed", className="scroll", tabIndex=0)]),
            ],
            className="pair",
        ),
    ]


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

    @app.callback(
        Output("version", "data"),
        Output("ratings-title", "children"),
        Output("search-label", "children"),
        Output("most-rated-title", "children"),
        Input("slow-tick", "n_intervals"),
        State("version", "data"),
    )
    def version(_ticks: int | None, known: Any) -> tuple[Any, ...]:
        picture = reader.picture
        if picture.run is None:
            return (no_update,) * 4
        present = [picture.run.run, picture.job.name if picture.job else None, picture.windows_read]
        if present == known:
            return (no_update,) * 4
        contract = picture.run.contract
        title = f"{measured(contract).capitalize()}s"
        search = f"{thing(contract).capitalize()}s whose {contract.key} begins with"
        return present, title, search, f"{thing(contract).capitalize()}s with most {measured(contract)}s"


def _renew_windows(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("wrong", "children"),
        Output("wrong-shown", "data"),
        Input("slow-tick", "n_intervals"),
        State("wrong-shown", "data"),
    )
    def wrong(_ticks: int | None, shown: Any) -> tuple[Any, Any]:
        picture = reader.picture
        names = [name_of(window) for window in picture.not_right[:LISTED]]
        to_show = [names, picture.windows_not_right]
        if to_show == shown:
            return no_update, no_update
        links = [html.Li(html.A(name, href=link_to("window", name), className="row-link"), key=name) for name in names]
        if (more := picture.windows_not_right - len(names)) > 0:
            links.append(html.Li(f"These are the first; there are {more:,} more."))
        return links or [html.Li("None.")], to_show

    @app.callback(Output("wrong-detail", "children"), Input("opened", "hash"))
    def open_window(opened: str | None) -> Any:
        picture = reader.picture
        for window in picture.not_right:
            if picture.run and link_to("window", name_of(window)) == opened:
                bounds = (milliseconds_of(window.window_start), milliseconds_of(window.window_end))
                return window_detail(window, reader.rows_of(window, bounds), picture.run.contract)
        return no_update


def _renew_ratings(app: Dash, reader: Reader) -> None:
    def windows_of(category: str) -> tuple[Windows, Picture] | None:
        picture, db = reader.picture, reader.database()
        if db is None or picture.job is None or picture.run is None:
            return None
        return Windows(db, picture.job, category or None), picture

    @app.callback(
        Output("categories", "children"),
        Output("categories-shown", "data"),
        Input("category", "data"),
        Input("version", "data"),
        State("categories-shown", "data"),
    )
    def categories(category: str, _version: Any, shown: Any) -> tuple[Any, Any]:
        run = reader.picture.run
        names = [_ALL, *(run.sources if run else ())]
        if (to_show := [category, names]) == shown:
            return no_update, no_update
        buttons = [
            html.Button(
                name or "all categories",
                id={"type": "category", "name": name},
                n_clicks=0,
                **attributes(aria_pressed=str(name == category).lower()),
            )
            for name in names
        ]
        return buttons, to_show

    @app.callback(
        Output("category", "data"), Input({"type": "category", "name": ALL}, "n_clicks"), prevent_initial_call=True
    )
    def choose_category(clicks: list[int]) -> Any:
        which = ctx.triggered_id
        return which["name"] if any(clicks) and isinstance(which, dict) else no_update

    @app.callback(
        Output("found", "children"),
        Output("found-shown", "data"),
        Input("search", "value"),
        Input("category", "data"),
        Input("version", "data"),
        State("found-shown", "data"),
    )
    def search(begin: str | None, category: str, _version: Any, shown: Any) -> tuple[Any, Any]:
        asked = windows_of(category)
        found = [[p.category, p.key] for p in asked[0].search((begin or "").strip())] if asked else []
        to_show = [bool(asked), begin, found]
        if to_show == shown:
            return no_update, no_update
        if not found:
            return [html.Li(f"Nothing begins with {begin!r}." if asked else "No windows yet.")], to_show
        return [_product_button("add", *product) for product in found], to_show

    @app.callback(
        Output("chosen", "data"),
        Input({"type": "add", "category": ALL, "key": ALL}, "n_clicks"),
        Input({"type": "remove", "category": ALL, "key": ALL}, "n_clicks"),
        State("chosen", "data"),
        prevent_initial_call=True,
    )
    def choose(added: list[int], removed: list[int], chosen: list[list[str]]) -> Any:
        which = ctx.triggered_id
        if not isinstance(which, dict) or not (any(added) or any(removed)) or not ctx.triggered[0]["value"]:
            return no_update
        product = [which["category"], which["key"]]
        others = [each for each in chosen if each != product]
        return [*others, product][-_MOST_LINES:] if which["type"] == "add" else others

    @app.callback(Output("chosen-list", "children"), Input("chosen", "data"))
    def chosen_list(chosen: list[list[str]]) -> list[html.Li]:
        if not chosen:
            return [html.Li("Until you choose, those with most rows in the whole run are shown.")]
        return [_product_button("remove", *product) for product in chosen]

    @app.callback(
        Output("averages", "figure"),
        Output("averages-caption", "children"),
        Input("chosen", "data"),
        Input("category", "data"),
        Input("version", "data"),
    )
    def averages(chosen: list[list[str]], category: str, _version: Any) -> tuple[Any, Any]:
        asked, of_category = windows_of(_ALL), windows_of(category)
        if asked is None or of_category is None or asked[1].run is None:
            return no_update, no_update
        windows, measure = asked[0], measured(asked[1].run.contract)
        products = [(c, k) for c, k in chosen] or [
            (product.category, product.key) for product in of_category[0].search("", _DEFAULT_LINES)
        ]
        series = {f"{key} ({category})": windows.series(category, key) for category, key in products}
        caption = f"Average {measure} over time, at the end of each window (UTC)"
        return charts.average_chart(series, windows.bounds(), measure), caption + sampled_lines(series.values())

    @app.callback(
        Output("distribution", "figure"),
        Output("distribution-caption", "children"),
        Output("sizes", "figure"),
        Output("sizes-caption", "children"),
        Output("newest", "children"),
        Output("most-rated", "children"),
        Output("most-changed", "children"),
        Input("category", "data"),
        Input("version", "data"),
    )
    def newest_window(category: str, _version: Any) -> tuple[Any, ...]:
        if (asked := windows_of(category)) is None:
            return (no_update,) * 7
        windows, picture = asked
        end = windows.newest(picture.event_time + 1)
        if end is None or picture.job is None or picture.run is None:
            return (no_update,) * 7
        contract, size, bounds = picture.run.contract, picture.job.size, windows.bounds()
        things, measure = f"{thing(contract)}s", measured(contract)
        distribution = charts.distribution_chart(
            windows.distribution(end, bounds), windows.distribution(end - size, bounds), bounds, things, measure
        )
        sizes = windows.sizes()
        return (
            distribution,
            f"{things.capitalize()} by average {measure}: the newest window and the one before",
            charts.size_chart(sizes, things),
            f"Rows and {things} in each window{sampled_sizes(sizes, picture.job.slide)}",
            f"The newest whole window: {moment(picture.job.start_of(end))} to {moment(end)}",
            _movers(windows.most_rated(end), contract.key),
            _movers(windows.most_changed(end), contract.key),
        )


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

    @app.callback(Output("letter-detail", "children"), Input("opened", "hash"))
    def open_letter(opened: str | None) -> Any:
        newest = reader.picture.dead_letters.newest
        return next((letter_detail(each) for each in newest if link_to("letter", each.place) == opened), no_update)


def _product_button(what: str, category: str, key: str) -> html.Li:
    sign, title = {"add": ("+ ", "show it in the chart"), "remove": ("✕ ", "take it out of the chart")}[what]
    name = {"type": what, "category": category, "key": key}
    return html.Li(html.Button([sign, html.Code(key), f" {category}"], id=name, n_clicks=0, title=title))


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


def _movers(movers: list[Mover], key: str) -> html.Table:
    body = [
        html.Tr(
            [
                html.Th(html.Code(each.key), scope="row"),
                html.Td(each.category),
                html.Td(f"{each.rows:,}"),
                html.Td("-" if each.average is None else f"{each.average:.3f}"),
                html.Td(_change(each)),
            ]
        )
        for each in movers
    ]
    return table((key, "category", "rows", "average", "before"), body)


def _change(mover: Mover) -> str:
    if mover.average is None:
        return "-"
    if mover.before is None:
        return "new"
    arrow = "▲" if mover.average > mover.before else "▼" if mover.average < mover.before else "="
    return f"{arrow} {mover.before:.3f}"
