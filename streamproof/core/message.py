"""What a row carries on its way: the envelope beside the contract's own fields.

One MQTT message holds one row or several, one JSON object a line (newline-delimited JSON). Every object has
the envelope's fields first, in this order, then the contract's fields in the contract's order.
"""

HEARTBEAT_SEQ = 0
"""``seq`` of a heartbeat: it carries the low watermark alone; its contract fields hold fillers."""

END_SEQ = -1
"""``seq`` of the mark behind a run's last row; its ``event_time`` is the last row's event time."""

BEFORE_ALL_TIME = -62_135_596_800_000
"""Milliseconds: the beginning of year 1, Flink's earliest timestamp. A low watermark that says nothing."""

FILLERS: dict[str, str | float] = {"text": "", "integer": 0, "time": 0, "decimal": 0.0, "boolean": False}
"""What a mark has in a field of each type: NiFi's schema asks for every field."""

ENVELOPE = {
    "run": "text",  # the run's id
    "category": "text",
    "seq": "integer",  # 1, 2, 3 … within the run and category; HEARTBEAT_SEQ or END_SEQ for a mark
    "event_time": "integer",  # milliseconds since the epoch: when the row is due
    "low_watermark": "integer",  # milliseconds since the epoch: no unconfirmed row has an event time up to this
}

CONFIRMATION_TOPIC = "{stream}/{category}/confirmed/{run}"
"""The MQTT topic on which the flow tells the edge what Kafka has: one JSON object a message,
``{"run": text, "category": text, "ranges": [[first, last], …]}``, the ranges of ``seq`` in Kafka's rows or dead
letters; an end mark is the range [-1, -1]. Rows go to ``{stream}/{category}``, so their subscriber does not see it."""

PROCESSES_TOPIC = "{stream}/{run}/processes"
"""The MQTT topic on which processes that send a run of the same id hear of each other; those of one edge of several
have a level with its name behind that."""

LOW_WATERMARK_TOPIC = "{stream}/{run}/low_watermark/{edge}"
"""The MQTT topic on which an edge of a run that several edges send says its own low watermark, retained."""
