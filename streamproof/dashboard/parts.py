"""What the page is put together from: sections with a heading, charts with a caption."""

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from streamproof.dashboard import charts
from streamproof.dashboard.attributes import attributes

_GRAPH: Any = {"displayModeBar": False, "responsive": True}


def section(name: str, title: str, *content: Component) -> html.Section:
    """Return a section that bears its heading's name."""
    heading = html.H2(title, id=f"{name}-title", tabIndex=-1)
    return html.Section([heading, *content], id=f"{name}-section", **attributes(aria_labelledby=f"{name}-title"))


def figure(name: str, caption: str, height: int) -> html.Figure:
    """Return a chart with its caption; ``height`` in pixels."""
    graph = dcc.Graph(id=name, config=_GRAPH, figure=charts.rate_chart({}), style={"height": height})
    return html.Figure([html.Figcaption(caption, id=f"{name}-caption"), graph])
