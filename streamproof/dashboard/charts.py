"""The charts. Their texts and lines take the page's colours (assets/charts.css), so they follow light and dark."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from validation.live.reader import RATE_SECONDS
from validation.live.results import BINS, Point, QuestionResults, WindowSize, bin_width

_COLOURS = ("#2a78c8", "#c8651b", "#1f8f63", "#a0489a", "#8a7a1c", "#c23b4e")
_APART = 60
"""Points from which on lines that lie over each other cannot be told apart."""
_HEIGHT, _PANEL = 340, 130
"""Pixels: of a chart, and of one of several panels in it."""
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


def lines_chart(series: dict[str, list[Point]], value: str) -> go.Figure:
    """Draw a value over time, a line for each key; the lines differ in dash as well as in colour.

    Where a point stands for several windows, or the lines are long, each key has a panel of its own: a line through
    the middles, and a band from the least to the greatest.
    """
    many = any(len(points) > _APART or any(point.windows > 1 for point in points) for points in series.values())
    return _panels(series, value) if many and series else _together(series, value)


def lines_height(series: dict[str, list[Point]], figure: go.Figure) -> int:
    """Return how high the chart of lines must be, in pixels."""
    return _HEIGHT if figure.layout.showlegend else max(_HEIGHT, 70 + _PANEL * len(series))


def said_of_bands(results: QuestionResults, span: tuple[int, int]) -> str:
    """Return the end of a caption that says so where a point of a line stands for several windows."""
    count = results.windows_a_point(span)
    return f"; of each {count} windows the median, within the least and the greatest" if count > 1 else ""


def said_of_means(results: QuestionResults, span: tuple[int, int]) -> str:
    """Return the same where it is the mean of several windows."""
    count = results.windows_a_point(span)
    return f"; the mean of each {count} windows" if count > 1 else ""


def _together(series: dict[str, list[Point]], value: str) -> go.Figure:
    figure = _figure(value)
    for number, (name, points) in enumerate(series.items()):
        figure.add_scatter(
            x=[_time(point.end) for point in points],
            y=[point.middle for point in points],
            name=name,
            mode="lines+markers",
            line={"color": _COLOURS[number % len(_COLOURS)], "dash": _DASHES[number % len(_DASHES)], "width": 2},
            hovertemplate="window to %{x|%H:%M:%S}: %{y:,.6~g}<extra>" + name + "</extra>",
        )
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2})
    figure.update_yaxes(rangemode="normal")
    return figure


def _panels(series: dict[str, list[Point]], value: str) -> go.Figure:
    figure = make_subplots(
        len(series),
        1,
        shared_xaxes=True,
        shared_yaxes="all",
        subplot_titles=list(series),
        vertical_spacing=0.12 / len(series),
    )
    for row, (name, points) in enumerate(series.items(), 1):
        times, colour = [_time(point.end) for point in points], _COLOURS[(row - 1) % len(_COLOURS)]
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_scatter(x=times, y=[point.least for point in points], **edge, row=row, col=1)
        band = edge | {"fill": "tonexty", "fillcolor": _faint(colour)}
        figure.add_scatter(x=times, y=[point.greatest for point in points], **band, row=row, col=1)
        figure.add_scatter(
            x=times,
            y=[point.middle for point in points],
            customdata=[[point.least, point.greatest, point.windows] for point in points],
            mode="lines",
            line={"color": colour, "width": 2},
            hovertemplate="to %{x|%H:%M:%S}: %{y:,.6~g}; from %{customdata[0]:,.6~g} to %{customdata[1]:,.6~g} in "
            "%{customdata[2]:,} windows<extra>" + name + "</extra>",
            row=row,
            col=1,
        )
    _style(figure)
    figure.update_annotations(x=0, xanchor="left", font={"size": 12})
    figure.update_yaxes(zeroline=False, nticks=4)
    figure.update_yaxes(title=value, row=(len(series) + 1) // 2, col=1)
    return figure


def distribution_chart(
    answers: Sequence[int], before: Sequence[int] | None, bounds: tuple[float, float], value: str
) -> go.Figure:
    """Draw how many answers have which value: bars; points for the window before, if there is one to compare."""
    width = bin_width(bounds)
    middles = [bounds[0] + (each + 0.5) * width for each in range(BINS)]
    figure = _figure("answers")
    figure.add_bar(
        x=middles,
        y=list(answers),
        width=width * 0.9,
        name="newest window",
        marker={"color": _COLOURS[0]},
        hovertemplate="about %{x:,.4~g}: %{y:,}<extra></extra>",
    )
    if before is not None:
        figure.add_scatter(
            x=middles,
            y=[count or None for count in before],  # no point where there is nothing
            name="the window before",
            mode="markers",
            marker={"color": _COLOURS[1], "symbol": "diamond-open", "size": 8, "line": {"width": 2}},
            hovertemplate="before, about %{x:,.4~g}: %{y:,}<extra></extra>",
        )
        figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.25})
    figure.update_xaxes(title=value)
    return figure


def size_chart(sizes: Sequence[WindowSize], weight: str | None) -> go.Figure:
    """Draw what lies in each window: its answers, and the sum of their weight."""
    figure = _figure("in each window")
    times = [_time(each.end) for each in sizes]
    lines: list[tuple[str, list[float | None]]] = [("answers", [each.answers for each in sizes])]
    if weight:
        lines.append((f"sum of {weight}", [each.weight for each in sizes]))
    for number, (name, values) in enumerate(lines):
        figure.add_scatter(
            x=times,
            y=values,
            name=name,
            mode="lines",
            line={"color": _COLOURS[number], "dash": _DASHES[number], "width": 2},
            hovertemplate="window to %{x|%H:%M:%S}: %{y:,.6~g}<extra>" + name + "</extra>",
        )
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.25})
    return figure


def _figure(title: str) -> go.Figure:
    figure = _style(go.Figure())
    figure.update_yaxes(title=title, rangemode="tozero", zeroline=False)
    return figure


def _style(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        margin={"l": 56, "r": 12, "t": 24 if figure.layout.annotations else 8, "b": 36},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        uirevision="kept",  # a zoom stays when new points come
        font={"family": "inherit", "size": 12},
        template="none",
    )
    figure.update_xaxes(showgrid=False, zeroline=False)
    return figure


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.22)"


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
