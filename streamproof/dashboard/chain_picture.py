"""The chain as a picture: each part with a symbol and a word for its health, and what it counts."""

import time
from dataclasses import dataclass

from dash import html

from streamproof.chain.health import Figures, PartHealth
from streamproof.dashboard.attributes import attributes
from validation.live.reader import Picture

_RATE_SECONDS = 10
_SILENT_SECONDS = 4.5
"""A replayer writes its manifest every other second."""


@dataclass(frozen=True)
class Node:
    """A part in the picture: ``up``, ``away``, at ``rest`` (there is nothing for it to do) or being ``asked``."""

    name: str
    kind: str
    state: str
    says: str
    figures: Figures
    word: str = ""


_SYMBOLS = {"up": "✓", "away": "✕", "rest": "■", "asked": "…"}
_WORDS = {"up": "works", "away": "AWAY", "rest": "at rest", "asked": "being asked"}


def chain_picture(picture: Picture, parts: dict[str, PartHealth]) -> html.Ol:
    """Return the chain from the edge to the results."""
    nodes = [
        _edge(picture),
        _server("Mosquitto", "MQTT broker", parts, ()),
        _server("NiFi", "flow", parts, ()),
        _server("Kafka", "topics", parts, _in_kafka(picture)),
        _server("Flink", "window job", parts, ()),
        _results(picture),
    ]
    return html.Ol([_draw(node) for node in nodes], className="chain")


def rows_a_second(picture: Picture) -> float:
    """Return the rows a second that came into Kafka in the last ten whole seconds."""
    now = int(time.time())
    return sum(picture.rates.get(now - back, 0) for back in range(1, _RATE_SECONDS + 1)) / _RATE_SECONDS


def _draw(node: Node) -> html.Li:
    health = html.P(
        [
            html.Span(_SYMBOLS[node.state], className="symbol", **attributes(aria_hidden="true")),
            html.Strong(node.word or _WORDS[node.state]),
            html.Span(node.says, className="says"),
        ],
        className="health",
    )
    figures = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in node.figures]
    head = html.H3([node.name, html.Small(node.kind)])
    return html.Li(
        [head, health, *([html.Dl(figures)] if figures else [])],
        className=f"part {node.state}",
        **attributes(data_part=node.name, data_state=node.state),
    )


def _edge(picture: Picture) -> Node:
    run = picture.run
    if run is None:
        return Node("Edge", "replayer", "rest", "no run", ())
    rows = run.rows.values()
    sent, confirmed = sum(r.sent for r in rows), sum(r.confirmed for r in rows)
    figures = (
        ("sent", f"{sent:,}"),
        ("confirmed", f"{confirmed:,}"),
        ("unconfirmed", f"{sent - confirmed:,}"),
        ("sent again", f"{sum(r.resent for r in rows):,}"),
        ("rejected", f"{sum(r.rejected for r in rows):,}"),
    )
    silent = time.time() - picture.written_at
    if run.state != "running":
        return Node("Edge", "replayer", "rest", f"run {run.state}", figures)
    if picture.written_at and silent > _SILENT_SECONDS:
        return Node("Edge", "replayer", "away", f"silent for {silent:.0f} s", figures)
    return Node("Edge", "replayer", "up", "sending", figures)


def _server(name: str, kind: str, parts: dict[str, PartHealth], figures: Figures) -> Node:
    health = parts.get(name, PartHealth())
    state = "asked" if health.is_up is None else "up" if health.is_up else "away"
    says = health.says if health.is_up is not None else ""
    if state == "away" and health.since:
        says = f"{says} (since {time.strftime('%H:%M:%S', time.gmtime(health.since))} UTC)"
    return Node(name, kind, state, says, figures + health.figures, health.lacks.upper() if state == "away" else "")


def _in_kafka(picture: Picture) -> Figures:
    rows = picture.rows.values()
    return (
        ("rows", f"{sum(r.kafka for r in rows):,}"),
        ("rows a second", f"{rows_a_second(picture):,.0f}"),
        ("doubled", f"{sum(r.doubled for r in rows):,}"),
        ("dead letters", f"{picture.dead_letters.of_run:,}"),
        ("lost", f"{sum(r.lost for r in rows):,}"),
    )


def _results(picture: Picture) -> Node:
    not_right = picture.answers_not_right
    figures = (
        ("written", f"{picture.results_read:,}"),
        ("right", f"{picture.answers.right:,}"),
        ("not right", f"{not_right:,}"),
    )
    if not picture.results_read:
        return Node("Results", "in Kafka", "rest", "none yet", figures)
    if not_right:
        return Node("Results", "in Kafka", "away", "see below", figures, "NOT RIGHT")
    if picture.overdue:
        return Node("Results", "in Kafka", "away", f"{picture.overdue:,} are not there, see below", figures, "OVERDUE")
    if not picture.is_judging:
        return Node("Results", "in Kafka", "asked", "", figures, "not judged yet")
    return Node("Results", "in Kafka", "up", "", figures, "right")
