"""The bytes of a message: one JSON object a line, envelope first, as ``streamproof.core.message`` has it."""

import msgspec

from streamproof.core.contract import Contract


class Payloads:
    """Writes the messages of one run."""

    def __init__(self, run: str, contract: Contract, categories: list[str]) -> None:
        self._run = run
        self._fillers = {name: field.filler for name, field in contract.fields.items()}
        text = msgspec.json.encode
        self._heads = {c: f'{{"run":{text(run).decode()},"category":{text(c).decode()},"seq":' for c in categories}

    def rows(self, category: str, rows: list[tuple[int, int, str]], low_watermark: int) -> bytes:
        """Write rows, given as (seq, event time, JSON of the contract's fields)."""
        head = self._heads[category]
        between = f',"low_watermark":{low_watermark},'
        lines = [f'{head}{seq},"event_time":{event_time}{between}{body}' for seq, event_time, body in rows]
        return "\n".join(lines).encode()

    def mark(self, category: str, seq: int, low_watermark: int) -> bytes:
        """Write a heartbeat or an end mark: ``seq`` says which."""
        envelope = {
            "run": self._run,
            "category": category,
            "seq": seq,
            "event_time": low_watermark,
            "low_watermark": low_watermark,
        }
        return msgspec.json.encode(envelope | self._fillers)
