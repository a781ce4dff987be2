"""The windows of a run as CSV, JSON, Parquet and Excel tables."""

import json

import duckdb
import pandas
import pytest

from streamproof.core.errors import UsageError


def test_windows_are_exported_as_csv_json_and_parquet(pipeline, tmp_path):
    pipeline.write()
    first = min(pipeline.windows, key=lambda w: (w["product_id"], w["window_start"]))
    lines = pipeline.command("windows").stdout.splitlines()
    names = ("count", "sum", "avg", "min", "max")
    numbers = [first[f"rating_{name}"] for name in names]
    assert lines[0] == "category,product_id,window_start,window_end," + ",".join(f"rating_{n}" for n in names)
    assert lines[1] == ",".join(
        map(str, ["Books", first["product_id"], first["window_start"], first["window_end"], *numbers])
    )
    assert len(lines) == 1 + len(pipeline.windows)
    objects = json.loads(pipeline.command("windows", "--format", "json").stdout)
    assert objects[0] == {k: v for k, v in first.items() if k not in ("job", "run", "window_size", "window_slide")}
    file = tmp_path / "windows.parquet"
    assert pipeline.command("windows", "--format", "parquet", "--output", str(file)).exit_code == 0
    types = duckdb.sql(f"SELECT typeof(product_id), typeof(window_start), typeof(rating_sum) FROM '{file}' LIMIT 1")
    assert types.fetchall() == [("VARCHAR", "TIMESTAMP", "DECIMAL(38,1)")]
    assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() == [(len(pipeline.windows),)]


@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_a_form_for_programs_alone_without_a_file_is_wrong_use(pipeline, form):
    result = pipeline.command("windows", "--format", form)
    assert isinstance(result.exception, UsageError)
    assert "--output" in str(result.exception)


def test_an_excel_table_keeps_ids_as_text_and_bounds_as_times(pipeline, tmp_path):
    pipeline.write()
    file = tmp_path / "windows.xlsx"
    done = pipeline.command("windows", "--format", "xlsx", "--output", str(file))
    assert done.exit_code == 0, done.stderr
    table = pandas.read_excel(file)
    assert len(table) == len(pipeline.windows)
    first = min(pipeline.windows, key=lambda w: (w["product_id"], w["window_start"]))
    assert table["product_id"][0] == first["product_id"] == "0000143502"
    assert f"{table['window_start'][0]:%Y-%m-%dT%H:%M:%SZ}" == first["window_start"]
    assert table["rating_sum"][0] == first["rating_sum"]
