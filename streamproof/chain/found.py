"""What was put into generated files on purpose, and what the questions found of it."""

from collections.abc import Iterator
from pathlib import Path

from streamproof.chain.batch_answers import rows_from_files
from streamproof.core.question import load_question
from streamproof.core.run import Run
from streamproof.core.settings import HomeSettings
from streamproof.core.sql_quoting import quoted
from streamproof.generator.declaration import Stream
from validation.truth import compute_truth


def say_what_was_found(run: Run, stream: Stream, truth: Path, home: HomeSettings) -> Iterator[str]:
    """Yield a line for each question that is to find something, and one for each kind of what was put in.

    Something is found when an answer meets the question's condition, has its key, and its window holds a part of it.

    Args:
        run: a proven run: its answers are those of its files.
        stream: says which question finds what.
        truth: the ``truth.csv`` of the run's files.
        home: where the run lies.

    """
    kinds = {kind: truth.found_by for kind, truth in stream.generator.truth.items() if truth.found_by}
    asked = dict.fromkeys((by.question, by.where, by.key) for by in kinds.values())
    questions = {name: load_question(str(stream.folder / f"{name}.sql")) for name, *_ in asked}
    with rows_from_files(run, questions.values(), home) as db:
        for name, where, key in asked:
            mine = [kind for kind, by in kinds.items() if (by.question, by.where, by.key) == (name, where, key)]
            same_key = f"a.{quoted(key)}::VARCHAR = t.key AND" if key else ""
            meets = f'{same_key} a.window_start <= t."end" AND a.window_end > t.begin'
            compute_truth(db, run, questions[name], "answers")
            db.execute(
                """
                CREATE OR REPLACE TABLE t AS
                SELECT kind, key, replace(begin, 'Z', '')::TIMESTAMP AS begin,
                       replace("end", 'Z', '')::TIMESTAMP AS "end"
                FROM read_csv($file, all_varchar = true) WHERE list_contains($kinds, kind)
                """,
                {"file": str(truth), "kinds": mine},
            )
            db.execute(f"CREATE OR REPLACE TABLE a AS SELECT * FROM answers WHERE {where or 'true'}")
            counts = db.execute(
                f"SELECT count(*), count(*) FILTER (EXISTS (SELECT 1 FROM t WHERE {meets})) FROM a"
            ).fetchone()
            all_answers, of_put_in = counts or (0, 0)
            condition = f" where {where}" if where else ""
            yield f"{name}: {of_put_in:,} of its {all_answers:,} answers{condition} are of what was put in on purpose"
            for kind, put_in, found in db.execute(
                f"SELECT kind, count(*), count(*) FILTER (EXISTS (SELECT 1 FROM a WHERE {meets})) FROM t "
                "GROUP BY kind ORDER BY kind"
            ).fetchall():
                yield f"    {kind}: {found:,} of {put_in:,} found"
