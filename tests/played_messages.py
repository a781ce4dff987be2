"""A stream's rows as a bad network brings them into one partition of Kafka."""

import random

from streamproof.core.message import END_SEQ, HEARTBEAT_SEQ


def played(rows, run, *, seed=1, under_way=30):
    """Return messages: rows in disorder and sent again, some long after their windows, with heartbeats and an end mark.

    The low watermark is true: the rows that are still under way hold it back.
    """
    chance, waiting, flying = random.Random(seed), list(reversed(rows)), []
    messages, sent = [], []
    while waiting or flying:
        while waiting and len(flying) < under_way:
            flying.append(waiting.pop())
        low = min(row["event_time"] for row in flying) - 1
        row = flying.pop(chance.randrange(len(flying)))
        envelope = {"run": run, "low_watermark": low}
        sent.append(row)
        messages.append(row | envelope)
        if chance.random() < 0.2:
            messages.append(row | envelope)
        if chance.random() < 0.1:
            messages.append(chance.choice(sent) | envelope)  # a copy of whatever age
        if chance.random() < 0.1:
            messages.append(row | envelope | {"seq": HEARTBEAT_SEQ, "event_time": low})
        messages.append(row | envelope | {"run": "another", "event_time": row["event_time"] + 86_400_000})
    last = max(row["event_time"] for row in rows)
    messages.append(messages[-1] | {"run": run, "seq": END_SEQ, "event_time": last, "low_watermark": last})
    return messages
