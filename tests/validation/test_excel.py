"""What a table for Excel cannot hold is refused, and not cut."""

import duckdb
import openpyxl
import pytest

from streamproof.core.errors import StreamproofError
from validation.export import _write_excel


def write(file, length):
    with duckdb.connect() as db:
        db.execute("CREATE TABLE exported AS SELECT repeat('x', ?) AS key, 1 AS n", [length])
        _write_excel(db, file)


def test_the_longest_text_of_a_cell_is_written_whole(tmp_path):
    write(tmp_path / "a.xlsx", 32_767)
    row = list(openpyxl.load_workbook(tmp_path / "a.xlsx").active.values)[1]
    assert (len(row[0]), row[1]) == (32_767, 1)


def test_a_longer_text_is_refused_with_a_form_that_holds_it(tmp_path):
    with pytest.raises(StreamproofError, match=r"result 1 has a text .*choose --format parquet"):
        write(tmp_path / "a.xlsx", 32_768)
