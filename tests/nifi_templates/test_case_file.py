"""A flow test's case as a user writes it: what is filled in, and what is refused."""

import json

import pytest

from nifi_templates.case_file import find_cases, load_case
from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError

RATINGS = load_contract("ratings")


def case(folder, text):
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return load_case(folder / "mine.toml", RATINGS)


def test_the_envelope_is_filled_in_where_it_is_left_out(tmp_path):
    found = case(
        tmp_path,
        """
        message = [{rows = [{rating = 1}, {seq = "x", run = 5}]}, {rows = [{user_id = "{run}"}]}]
        expect = {confirmed = [[1, 3], [-1, -1]]}
        """,
    )
    envelope = {"run": "{run}", "category": "{category}", "low_watermark": 0}
    assert [[json.loads(line) for line in payload.splitlines()] for payload in found.payloads] == [
        [
            envelope | {"seq": 1, "event_time": 1, "rating": 1},
            envelope | {"seq": "x", "event_time": 2, "run": 5},
        ],
        [envelope | {"seq": 3, "event_time": 3, "user_id": "{run}"}],
    ]
    assert found.confirmed == {1, 2, 3, -1}


def test_a_payload_is_sent_as_it_is(tmp_path):
    text = 'message = [{payload = "{x\\n"}, {payload = ""}, {payload_base64 = "//4="}]\n[expect]'
    assert case(tmp_path, text).payloads == (b"{x\n", b"", b"\xff\xfe")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("message = 5\n[expect]", "mine.toml: message: Input should be a valid tuple"),
        ("message = []\n[expect]", "mine.toml: case: at least one [[message]] is needed"),
        ("[[message]]\nrow = 5\n[expect]", "mine.toml: message.1.row: there is no such key (docs/flow-tests.md"),
        ('[[message]]\npayload = ""\nrows = []\n[expect]', "mine.toml: message.1: exactly one of rows, payload"),
        ("[[message]]\nrows = []\n[expect]", "mine.toml: message.1: at least one row"),
        ('[[message]]\npayload = ""', "mine.toml: expect: Field required"),
        (
            "[[message]]\nrows = [{}, {a = 2024-01-01}]\n[expect]",
            "message.1.rows: messages hold no TOML date",
        ),
        (
            "[[message]]\nrows = [{}]\n[[expect.record]]\nratign = 1",
            "expect.record.1.ratign: no record has it; known: run",
        ),
        (
            "[[message]]\nrows = [{}]\n[[expect.dead_letter]]\nstage = 'x'",
            "expect.dead_letter.1.stage: Input should be 'm",
        ),
        ("[[message]]\nrows = [{}]\n[expect]\nconfirmed = [[1]]", "expect.confirmed.1.2: Field required"),
        (
            "[[message]]\nrows = [{run = 'r', category = 'c'}]\n[expect]",
            "message.1: a row with a run and a category needs",
        ),
        ("[[message]]\npayload = 'a\n[expect]", "mine.toml: cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_what_was_expected(tmp_path, text, reason):
    with pytest.raises(UsageError) as refusal:
        case(tmp_path, text)
    assert reason in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_folder_stands_for_all_its_cases_and_an_empty_one_is_refused(tmp_path):
    for name in ("b", "a", "deeper/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.toml").write_text('[[message]]\npayload = ""\n[expect]', encoding="utf-8")
    assert [it.path.stem for it in find_cases([tmp_path], RATINGS)] == ["a", "b", "c"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: there is no case"):
        find_cases([tmp_path / "empty"], RATINGS)
