"""The conditions of a model's alert on scores, evaluated by DuckDB as the batch does."""

import json

import duckdb
import msgspec

from streamproof.core.alert_rule import AlertRule
from streamproof.core.batch import Columns
from streamproof.core.sql_quoting import literal

Record = dict[str, msgspec.Raw]
"""An answer with its score: each value as JSON."""


class Conditions:
    """Adds to records what an alert's rule says of them.

    Args:
        rule: the rule; None adds nothing.
        columns: the records' columns and their types.

    """

    def __init__(self, rule: AlertRule | None, columns: Columns) -> None:
        self._names = list(rule.columns) if rule else []
        conditions = ", ".join(f"({text}) IS TRUE" for text in rule.columns.values()) if rule else ""
        self._select = f"""
            SELECT {conditions} FROM (
                SELECT unnest(from_json(value, {literal(json.dumps(columns))})), place
                FROM (SELECT unnest($records) AS value, generate_subscripts($records, 1) AS place)
            ) ORDER BY place
            """
        self._db = duckdb.connect()

    def add(self, records: list[Record]) -> list[Record]:
        """Return the records with a column for each condition, true or false."""
        if not self._names or not records:
            return records
        texts = [msgspec.json.encode(record).decode() for record in records]
        found = self._db.execute(self._select, {"records": texts}).fetchall()
        return [
            record
            | {name: msgspec.Raw(b"true" if is_so else b"false") for name, is_so in zip(self._names, so, strict=True)}
            for record, so in zip(records, found, strict=True)
        ]
