"""The question that ``contract draft`` writes is one that both engines take, whatever the columns are called."""

import tomllib

from edge_replayer.draft.draft import draft
from flink_jobs.local import plan_question
from streamproof.core.contract import parse_contract
from streamproof.core.question import parse_question


def test_a_drafted_question_is_taken_though_its_columns_are_called_by_words_that_flink_reserves(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text(
        "Value,User,Timestamp,row_count\n" + "".join(f"{n},u{n % 2},2024-01-01 10:{n},1\n" for n in range(10, 60))
    )
    made = draft(file)
    question = parse_question(made.question, made.question_text, "drafted")
    planned = plan_question(question, parse_contract(tomllib.loads(made.contract), "drafted"))
    assert list(planned.columns) == ["user", "row_count_", "value_avg"]
    assert planned.notes == []
