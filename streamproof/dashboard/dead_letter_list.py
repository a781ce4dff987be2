"""The dead letters as the page shows them: reasons, the newest as links, and one opened."""

from collections.abc import Sequence

from dash import html

from streamproof.dashboard.attributes import link_to
from streamproof.dashboard.tables import table
from streamproof.dashboard.words import moment
from validation.live.dead_letters import KEPT, DeadLetters, Letter

LISTED = 15


def reasons_table(letters: DeadLetters) -> html.Div:
    """Return how many dead letters there are of each reason, and what is sampled."""
    if not letters.reasons:
        return html.Div(html.P("There are none: no message was refused."))
    body = [html.Tr([html.Td(f"{count:,}"), html.Td(reason)]) for reason, count in letters.reasons[:LISTED]]
    note = (
        f"{letters.of_run:,} of this run; {letters.without_run:,} that name no run and came since it began. "
        f"All are counted; the newest {KEPT} can be opened."
    )
    return html.Div([html.P(note), html.Div(table(("letters", "reason"), body), className="scroll", tabIndex=0)])


def letter_links(letters: Sequence[Letter]) -> list[html.Li]:
    """Return a link for each of the newest letters."""
    return [
        html.Li(
            html.A(
                [html.Span(moment(each.received_at), className="when"), html.Span(each.reason, className="what")],
                href=link_to("letter", each.place),
                className="row-link",
            ),
            key=each.place,
        )
        for each in letters[:LISTED]
    ]


def letter_detail(letter: Letter) -> html.Div:
    """Return an opened letter: all that is known, and the message itself."""
    facts = (
        ("reason", letter.reason),
        ("found at", {"message": "no JSON object", "schema": "the contract's schema"}.get(letter.stage, letter.stage)),
        ("received", moment(letter.received_at)),
        ("MQTT topic", letter.mqtt_topic),
        ("run", letter.run or "names none"),
        ("category", letter.category or "names none"),
        ("seq", "names none" if letter.seq is None else f"{letter.seq:,}"),
        ("in Kafka", f"partition/offset {letter.place}"),
    )
    message = letter.payload if letter.payload is not None else letter.payload_base64 or ""
    title = "The message" if letter.payload is not None else "The message (not UTF-8, so as base64)"
    return html.Div(
        [
            html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts]),
            html.H3(title),
            html.Pre(message or "(empty)", tabIndex=0, className="message"),
        ],
        className="detail",
    )
