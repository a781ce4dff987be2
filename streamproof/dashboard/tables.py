"""Tables of the page."""

from collections.abc import Iterable, Sequence

from dash import html

from streamproof.dashboard.words import shown
from validation.live.results import Table


def table(titles: Sequence[str], rows: Iterable[html.Tr]) -> html.Table:
    """Return a table with a title over each column."""
    head = html.Thead(html.Tr([html.Th(title, scope="col") for title in titles]))
    return html.Table([head, html.Tbody(list(rows))])


def answers_table(answers: Table, key: Sequence[str]) -> html.Table:
    """Return answers as a table; the columns of the key, ids among them, stand there as they are."""
    rows = [
        html.Tr(
            [
                html.Th(html.Code(str(value)), scope="row") if name in key else html.Td(shown(value))
                for name, value in zip(answers.columns, row, strict=True)
            ]
        )
        for row in answers.rows
    ]
    return table(answers.columns, rows)
