"""The charts. Their texts and lines take the page's colours (assets/charts.css), so they follow light and dark."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go

from validation.live.ratings import BINS, Series, WindowSize, bin_width
from validation.live.reader import RATE_SECONDS

_COLOURS = ("#2a78c8", "#c8651b", "#1f8f63", "#a0489a", "#8a7a1c", "#c23b4e")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def rate_chart(rates: dict[int, int]) -> go.Figure:
    """Draw the rows that came into Kafka in each second of the newest minutes."""
    last = min(max(rates, default=0), int(time.time()) - 1)  # of the present second more may come
    seconds = range(max(last - RATE_SECONDS, min(rates, default=last + 1)), last + 1)
    figure = _figure("rows a second")
    counts = [rates.get(second, 0) for second in seconds]
    steps = [*counts, *counts[-1:]]  # the last one needs its end, too
    figure.add_scatter(
        x=[_time(second * 1000) for second, _ in enumerate(steps, seconds.start)],
        y=steps,
        mode="lines",
        line={"color": _COLOURS[0], "width": 1.5, "shape": "hv"},
        fill="tozeroy",
        fillcolor="rgba(42,120,200,0.15)",
        hovertemplate="%{x|%H:%M:%S}: %{y:,} rows<extra></extra>",
    )
    figure.update_xaxes(type="date", visible=bool(seconds))
    return figure


def average_chart(series: dict[str, Series], bounds: tuple[float, float], measure: str) -> go.Figure:
    """Draw the average over time, a line for each product; the lines differ in dash as well as in colour."""
    figure = _figure(f"average {measure}")
    for number, (name, each) in enumerate(series.items()):
        figure.add_scatter(
            x=[_time(end) for end in each.ends],
            y=each.averages,
            customdata=each.counts,
            name=name,
            mode="lines+markers" if len(each.ends) <= 60 else "lines",  # noqa: PLR2004 - where markers would touch
            line={"color": _COLOURS[number % len(_COLOURS)], "dash": _DASHES[number % len(_DASHES)], "width": 2},
            hovertemplate="window to %{x|%H:%M:%S}: %{y:.3f} of %{customdata}<extra>" + name + "</extra>",
        )
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2})
    room = 0.05 * (bounds[1] - bounds[0])
    figure.update_yaxes(range=[bounds[0] - room, bounds[1] + room])
    return figure


def distribution_chart(
    products: Sequence[int], before: Sequence[int] | None, bounds: tuple[float, float], things: str, measure: str
) -> go.Figure:
    """Draw how many products have which average: bars; points for the window before, if there is one to compare."""
    width = bin_width(bounds)
    middles = [bounds[0] + (each + 0.5) * width for each in range(BINS)]
    figure = _figure(things)
    figure.add_bar(
        x=middles,
        y=list(products),
        width=width * 0.9,
        name="newest window",
        marker={"color": _COLOURS[0]},
        hovertemplate="about %{x:.2f}: %{y:,}<extra></extra>",
    )
    if before is not None:
        figure.add_scatter(
            x=middles,
            y=list(before),
            name="the window before",
            mode="markers",
            marker={"color": _COLOURS[1], "symbol": "diamond-open", "size": 8, "line": {"width": 2}},
            hovertemplate="before, about %{x:.2f}: %{y:,}<extra></extra>",
        )
        figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.25})
    figure.update_xaxes(title=f"average {measure}")
    return figure


def size_chart(sizes: Sequence[WindowSize], things: str) -> go.Figure:
    """Draw what lies in each window: rows and products."""
    figure = _figure("in each window")
    times = [_time(each.end) for each in sizes]
    for number, (name, values) in enumerate(
        (("rows", [each.rows for each in sizes]), (things, [each.products for each in sizes]))
    ):
        figure.add_scatter(
            x=times,
            y=values,
            name=name,
            mode="lines",
            line={"color": _COLOURS[number], "dash": _DASHES[number], "width": 2},
            hovertemplate="window to %{x|%H:%M:%S}: %{y:,}<extra>" + name + "</extra>",
        )
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.25})
    return figure


def _figure(title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        margin={"l": 48, "r": 12, "t": 8, "b": 36},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        uirevision="kept",  # a zoom stays when new points come
        font={"family": "inherit", "size": 12},
        template="none",
    )
    figure.update_yaxes(title=title, rangemode="tozero", zeroline=False)
    figure.update_xaxes(showgrid=False, zeroline=False)
    return figure


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
