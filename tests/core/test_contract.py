import re
import tomllib

import pytest

from streamproof.core.contract import STREAMS, load_contract, parse_contract
from streamproof.core.errors import UsageError

RATINGS = tomllib.loads((STREAMS / "ratings" / "stream.toml").read_text())


def changed(path, value):
    data = tomllib.loads((STREAMS / "ratings" / "stream.toml").read_text())
    *parents, last = path.split("/")
    at = data
    for part in parents:
        at = at[part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("partition_by", "shoe", r"contract: partition_by = 'shoe' must name a field of type text"),
        (
            "measure",
            "rating",
            r"contract: measure: is no part of a contract any more: a question says what is computed",
        ),
        ("key", "product_id", r"contract: key: is called partition_by in a contract"),
        ("event_time", "rating", r"event_time = 'rating' must name a field of type time"),
        (
            "fields/rating/type",
            "number",
            r"ratings.toml: fields.rating.type: Input should be 'text', 'integer'",
        ),
        (
            "fields/rating/scale",
            None,
            r"ratings.toml: fields.rating: a decimal, and only a decimal, needs scale",
        ),
        (
            "fields/timestamp/unit",
            "years",
            r"ratings.toml: fields.timestamp.unit: Input should be 's', 'ms', 'us' or 'ns'",
        ),
        ("fields/user_id/unit", "s", r"ratings.toml: fields.user_id: unit, format, timezone .* are for a time only"),
        ("fields/user_id/aliases", ["rating"], r"the column name 'rating' is given twice"),
        ("fields/seq", {"type": "integer"}, r"the name 'seq' is taken"),
        ("csv/columns", ["user_id"], r"csv.columns: the field '\w+' is not among them"),
        ("csv/delimiter", "5", r"ratings.toml: csv.delimiter: String should match pattern"),
        ("topics", {"rows": "a b"}, r"ratings.toml: topics.rows: String should match pattern"),
        ("topics", {"dead_letters": "ratings"}, r"rows and dead_letters must be different topics"),
        ("colour", "red", r"ratings.toml: colour: there is no such key"),
    ],
)
def test_a_wrong_contract_is_refused_with_file_key_and_what_was_expected(path, value, expected):
    with pytest.raises(UsageError, match=expected):
        parse_contract(changed(path, value), "ratings.toml")


def test_a_file_that_is_not_toml_is_refused_with_its_name(tmp_path):
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(UsageError, match=r"bad.toml: cannot be read as TOML"):
        load_contract(str(tmp_path / "bad.toml"))


def test_an_unknown_stream_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"name one of .*ratings.*, or the path"):
        load_contract("shoes")


@pytest.mark.parametrize(
    ("first_line", "header", "columns"),
    [
        ("UserId,ItemId,rating,timestamp", True, [0, 1, 2, 3]),
        ("timestamp,extra,Rating,asin,user", True, [4, 3, 2, 0]),
        ("A2IBPI20UZIR0U,1384719342,5.0,1393545600,0,0", False, [0, 1, 2, 3]),
    ],
)
def test_columns_are_found_by_name_or_by_order(first_line, header, columns):
    found = load_contract("ratings").columns_of(first_line.split(","), "file.csv")
    assert found == (
        header,
        dict(zip(("user_id", "product_id", "rating", "timestamp"), [(n,) for n in columns], strict=True)),
    )


def test_a_header_that_lacks_a_field_is_refused_with_the_names_it_may_have():
    with pytest.raises(UsageError, match=r"file.csv: .*no column for the field product_id \(names: product_id, ItemId"):
        load_contract("ratings").columns_of(["UserId", "what", "rating", "timestamp"], "file.csv")


def test_a_first_line_without_any_known_name_is_refused_where_no_order_is_described():
    contract = parse_contract(changed("csv/columns", None), "ratings.toml")
    with pytest.raises(UsageError, match="names none of the fields"):
        contract.columns_of(["a", "b", "c", "d"], "file.csv")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("product_id", ["0000143502", "107461X", " ", "ü", "a\nb"], [""]),
        (
            "rating",
            ["5", "5.0", "-4.5", "+3"],
            ["", "abc", "5.55", "1e3", " 5", "nan", "5.", ".5", "1_0", "1" * 16],
        ),
        (
            "timestamp",
            ["0", "1365811200", "13.5", "1.3E9"],
            ["", "-1", "13.", "1e11", "1365811200 ", "1547589356557", "2014-01-01", "٣"],
        ),
    ],
)
def test_a_cell_fits_its_field_or_not(field, good, bad):
    pattern = load_contract("ratings").fields[field].pattern
    assert all(re.fullmatch(pattern, cell) for cell in good)
    assert not any(re.fullmatch(pattern, cell) for cell in bad)


def test_the_record_schema_has_the_envelope_and_the_fields_and_keeps_ids_text():
    schema = load_contract("ratings").avro_schema()
    assert [(f["name"], f["type"]) for f in schema["fields"]] == [
        ("run", "string"), ("category", "string"), ("seq", "long"), ("event_time", "long"), ("low_watermark", "long"),
        ("user_id", "string"), ("product_id", "string"), ("rating", "double"), ("timestamp", "long"),
    ]  # fmt: skip


def test_topics_are_named_after_the_stream_unless_the_contract_names_them():
    assert load_contract("ratings").topics.model_dump() == {
        "rows": "ratings", "dead_letters": "ratings.dead-letter",
    }  # fmt: skip
    assert parse_contract(changed("topics", {"rows": "mine"}), "x").topics.rows == "mine"
