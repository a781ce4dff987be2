"""Flink's results of a local run, judged as the verdict judges those in Kafka."""

from dataclasses import dataclass

import duckdb
from files_of_a_run import manifest

from streamproof.core.sql_quoting import quoted
from validation.answers import Answers, truth_table
from validation.comparison import AnswerCounts, Difference, compare, first_not_right, keys_that_are_none
from validation.kafka_records import _TABLES, Results
from validation.truth import compute_truth


class Record:
    """What a consumer of Kafka hands over."""

    def __init__(self, line):
        self._value = line.encode()

    def value(self):
        return self._value

    def timestamp(self):
        return 1, 0


@dataclass
class Judged:
    counts: AnswerCounts
    differences: list[Difference]
    alerts: int
    doubled_keys: int
    wrong: list[tuple[dict, dict]]

    @property
    def right_only(self):
        return (self.counts.wrong, self.counts.missing, self.counts.extra, self.doubled_keys) == (0, 0, 0, 0)


def judge(questions, lines, rows, contract, run="r"):
    """Return of each question how its lines of results compare with what DuckDB makes of the rows."""
    judged = []
    with duckdb.connect() as db:
        db.execute(_TABLES)
        columns = {"category": "VARCHAR", "seq": "BIGINT", "event_time": "TIMESTAMP", "_line": "BIGINT"}
        columns |= {name: field.duckdb_type for name, field in contract.fields.items()}
        times = {"event_time", *(name for name, field in contract.fields.items() if field.type == "time")}
        db.execute(f"CREATE TABLE sent ({', '.join(f'{quoted(name)} {kind}' for name, kind in columns.items())})")
        places = ", ".join("make_timestamp_ms(?)" if name in times else "?" for name in columns)
        db.executemany(
            f"INSERT INTO sent VALUES ({places})",
            [[row.get(name, row["seq"]) for name in columns] for row in rows],
        )
        of_run = manifest({}, {}, contract=contract).model_copy(update={"run": run})
        for number, (question, results) in enumerate(zip(questions, lines, strict=True)):
            Results(db, of_run, question, number).add([Record(line) for line in results])
            compute_truth(db, of_run, question, truth_table(number))
            answers = Answers(question, "local", number)
            counts = compare(db, answers)
            alerts = "count(*) FILTER (alert)" if question.header.alert else "count(*) FILTER (false)"
            found = db.execute(f"SELECT {alerts} FROM {truth_table(number)}").fetchone()
            wrong = db.execute("SELECT expected, found FROM compared WHERE verdict = 'wrong'").fetchall()
            judged.append(Judged(counts, first_not_right(db), found[0], keys_that_are_none(db, answers), wrong))
    return judged
