"""A file read by the replayer and by the validation, each by its own code, as rows of plain Python values."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

import duckdb
from files_of_a_run import manifest

from edge_replayer.csv_rows import CsvRows
from validation.csv_rows import read_rows

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - DuckDB's timestamps are naive


def read_by_the_replayer(contract, path):
    rejected = []
    rows = []
    for _, time, body in CsvRows(contract, path).rows(lambda *line: rejected.append(line)):
        fields = json.loads("{" + body, parse_float=Decimal)
        assert contract.event_time is None or fields[contract.event_time] == time
        rows.append(tuple(meant(fields[name], field) for name, field in contract.fields.items()))
    return rows, len(rejected)


def meant(value, field):
    if value is None:
        return None
    if field.type == "time":
        return EPOCH + timedelta(milliseconds=value)
    return Decimal(value) if field.type == "decimal" else value


def read_by_the_validation(contract, path):
    with duckdb.connect() as db:
        counts = read_rows(db, manifest({"A": path}, {"A": 0}, contract=contract))["A"]
        names = ", ".join(f'"{name}"' for name in contract.fields)
        rows = db.execute(f"SELECT {names} FROM accepted ORDER BY _line").fetchall()
        assert len(rows) == counts.accepted
        return rows, counts.rejected
