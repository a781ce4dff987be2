"""A table of the page."""

from collections.abc import Iterable, Sequence

from dash import html


def table(titles: Sequence[str], rows: Iterable[html.Tr]) -> html.Table:
    """Return a table with a title over each column."""
    head = html.Thead(html.Tr([html.Th(title, scope="col") for title in titles]))
    return html.Table([head, html.Tbody(list(rows))])
