"""Bad files, hunted: replayer and validation read every file alike, each by its own code, and leave out no record."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256

import duckdb
import pytest
from generated_csv import LONGEST, File, files, stream_of
from hunting import cases
from hypothesis import example, given, settings
from hypothesis import strategies as st

import edge_replayer.csv_rows
import validation.csv_rows
from edge_replayer.csv_rows import CsvRows
from streamproof.core.errors import UsageError
from streamproof.core.run import RowCounts, Run, Source
from validation.csv_rows import read_rows


def read_by_the_replayer(stream, path):
    rejected = []
    rows = [
        (fields["id"], fields["amount"], time, fields["at"])
        for _, time, body in CsvRows(stream, path).rows(lambda *line: rejected.append(line))
        for fields in [json.loads("{" + body, parse_float=Decimal)]
    ]
    return rows, rejected


def read_by_the_validation(stream, path):
    run = Run.model_validate(
        {
            "run": "r",
            "contract": stream,
            "clock": "virtual",
            "pace": "file",
            "batch_rows": 1,
            "batch_ms": 1,
            "sources": {"A": Source(file=path, sha256=sha256(path.read_bytes()).hexdigest(), size=0)},
            "rows": {"A": RowCounts()},
            "created": datetime.now(UTC),
        }
    )
    with duckdb.connect() as db:
        counts = read_rows(db, run)["A"]
        return db.execute("SELECT id, amount, _time FROM accepted ORDER BY _line").fetchall(), counts


@settings(max_examples=cases(50))
@given(file=files(), block=st.integers(4, 300))
@example(file=File(",", header=False, unit="s", packed=False, content=b"\n\r\r\n"), block=4)
@example(
    file=File(",", True, "s", packed=False, content="who,id,amount,m\u2028n,count,at\nu,i,1,,2,3\n".encode()), block=8
)
def test_replayer_and_validation_accept_the_same_rows_and_account_for_every_record(tmp_path, file, block):
    path = tmp_path / ("a.csv.gz" if file.packed else "a.csv")
    path.write_bytes(gzip.compress(file.content) if file.packed else file.content)
    stream = stream_of(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_replayer.csv_rows, "MAX_RECORD", LONGEST)
        patch.setattr(validation.csv_rows, "_LONGEST", LONGEST)
        cut = validation.csv_rows._CELLS.replace(str(1 << 20), str(LONGEST))
        patch.setattr(validation.csv_rows, "_CELLS", cut)
        patch.setattr(validation.csv_rows, "_BLOCK", block)  # so that records lie across blocks
        try:
            rows, rejected = read_by_the_replayer(stream, path)
        except UsageError:
            return  # there is no run then, and so nothing to validate
        found, counts = read_by_the_validation(stream, path)
    assert [row[:3] for row in rows] == found
    assert all(time == at for *_, time, at in rows)
    assert (len(rows), len(rejected)) == (counts.accepted, counts.rejected)
    numbers = [number for number, _, _ in rejected]
    lines = file.content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert numbers == sorted(set(numbers))
    assert all(reason for _, reason, _ in rejected)
    assert all(lines[number - 1].startswith(text.rstrip(b"\n")[:LONGEST]) for number, _, text in rejected)
