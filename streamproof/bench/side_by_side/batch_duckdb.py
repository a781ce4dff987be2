"""The windows of a run from its CSV files as the project's own validation computes them: what the others stand beside.

It reads each file twice: once to see that it has not changed, and once with a look at every cell. The measure is a
decimal, and what does not fit into 1 GB of memory goes to the disk.
"""

from streamproof.bench.ground import QUESTION
from streamproof.bench.side_by_side.question import BatchQuestion, Progress
from streamproof.core.run import Run
from streamproof.core.window import Window
from validation.csv_rows import read_rows
from validation.truth import compute_truth, number_rows
from validation.verdict import open_database


def main() -> None:
    """Compute, and then write the file; the writing does not count."""
    question, progress = BatchQuestion.from_arguments(), Progress()
    run = Run.model_validate_json(question.manifest.read_bytes())
    progress.begin()
    with open_database(question.output.parent) as db:
        files = read_rows(db, run)
        number_rows(db, run, files)
        compute_truth(db, run, QUESTION.with_window(Window(question.size, question.slide)), "truth")
        progress.end()
        progress.rows = sum(counts.accepted for counts in files.values())
        db.execute(
            f"""
            CREATE VIEW found AS
            SELECT category, {question.key}, epoch_ms(window_start) AS window_start, {question.measure}_count AS n,
                   {question.measure}_sum AS total, {question.measure}_min AS least, {question.measure}_max AS greatest
            FROM truth
            """
        )
        db.table("found").write_parquet(str(question.output))
        progress.windows = len(db.table("found"))
    progress.answer()


if __name__ == "__main__":
    main()
