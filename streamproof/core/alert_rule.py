"""An alert's rule, as a question's header has it, and what an alert's events are called.

Both engines take their part of it from here; how states follow from a key's windows is computed twice, by
``streamproof.alerts.states`` as windows come and by ``validation.alerts`` in SQL over all of them (docs/alerts.md).
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from streamproof.core.contract import Contract
from streamproof.core.toml_file import Milliseconds, StrictModel

State = Literal["pending", "withdrawn", "firing", "repeated", "resolved"]
"""What an event says of an alert. Pending: a breach has begun, which must last some windows more. Withdrawn: it did not
last. Firing: it did. Repeated: the alert still fires, which is said again. Resolved: the alert is over."""

ALERTS = "alerts"
"""The end of the topic of a stream's alerts, ``STREAM.alerts``."""

GROUP = "streamproof-alerts-{job}-{question}"
"""The consumer group for which the offsets of a job's tally are committed together with the alerts that follow from it:
how far the alerts of a question are computed. It is the transactional id of their writer, too."""

BREACH_COLUMN, CLEAR_COLUMN = "alert", "alert_clear"
"""The columns that an alert's rule adds to each answer: whether it breaches, and whether it clears."""

EVENT_COLUMNS = {"alert_id": "VARCHAR", "alert_state": "VARCHAR", "alert_begin": "TIMESTAMP", "alert_number": "BIGINT"}
"""What an event carries beside the columns of the answer that it is about, and their types in DuckDB."""

ID_DIGITS = 16
"""Hexadecimal digits of an alert's id."""


def alerts_topic(contract: Contract) -> str:
    """Return the topic of a stream's alerts."""
    return f"{contract.name}.{ALERTS}"


class AlertRule(StrictModel):
    """When an alert fires and when it is over. Windows are counted one slide after the other.

    Attributes:
        when: a condition on the answer's columns: the answer breaches.
        clear: a condition on them: the answer clears, unless it breaches. Without it whatever does not breach clears.
        for_windows: how many windows in a row must breach until the alert fires.
        clear_for: how many windows in a row must clear until it is resolved.
        repeat: after how much event time a firing alert is told again, and again; milliseconds.
        absent: what a window counts as that has no answer of a key that had one before: it clears, breaches, or
            leaves everything as it was.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    when: Annotated[str, Field(min_length=1)]
    clear: Annotated[str | None, Field(min_length=1)] = None
    for_windows: Annotated[int, Field(alias="for", ge=1)] = 1
    clear_for: Annotated[int, Field(ge=1)] = 1
    repeat: Milliseconds | None = None
    absent: Literal["clear", "breach", "keep"] = "clear"

    @property
    def columns(self) -> dict[str, str]:
        """The columns that the rule adds to each answer, and their conditions in SQL."""
        return {BREACH_COLUMN: self.when} | ({CLEAR_COLUMN: self.clear} if self.clear else {})


def short_form(value: Any) -> Any:  # noqa: ANN401 - what TOML holds
    """Return the rule of a condition that stands alone, ``alert = "n > 10"``."""
    return {"when": value} if isinstance(value, str) else value
