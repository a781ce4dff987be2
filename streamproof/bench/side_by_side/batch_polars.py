"""The windows of a run from its CSV files with Polars: ``group_by_dynamic``, which has windows that hop.

By default it leaves out the windows that begin before a group's first row; with an offset of ``slide - size`` they are
there, and the windows are those of the batch. What else it does differently from the project's validation: it takes the
files as they are, without a look at what fits the contract or whether they have changed; the measure is a double (sums
of halves are exact); all of it lies in memory.
"""

import polars as pl

from streamproof.bench.side_by_side.question import BatchQuestion, Progress


def windows(question: BatchQuestion) -> pl.DataFrame:
    """Return a line for each window."""
    files, start, interval = question.run()
    rows = pl.concat(
        pl.scan_csv(
            file,
            has_header=False,
            new_columns=question.columns.split(","),
            schema_overrides={question.key: pl.String},
        ).select(
            question.key,
            question.measure,
            category=pl.lit(category),
            event_time=start + pl.int_range(pl.len()) * interval.numerator // interval.denominator,
        )
        for category, file in files.items()
    )
    return (
        rows.with_columns(pl.col("event_time").cast(pl.Datetime("ms")))
        .sort("event_time")
        .group_by_dynamic(
            "event_time",
            every=f"{question.slide}ms",
            period=f"{question.size}ms",
            offset=f"{question.slide - question.size}ms",
            group_by=["category", question.key],
        )
        .agg(
            n=pl.len(),
            total=pl.sum(question.measure),
            least=pl.min(question.measure),
            greatest=pl.max(question.measure),
        )
        .collect()
    )


def main() -> None:
    """Compute, and then write the file; the writing does not count."""
    question, progress = BatchQuestion.from_arguments(), Progress()
    progress.begin()
    found = windows(question)
    progress.end()
    progress.windows = len(found)
    progress.rows = int(found["n"].sum()) * question.slide // question.size  # each row is in so many windows
    progress.answer()
    found.rename({"event_time": "window_start"}).with_columns(pl.col("window_start").dt.epoch("ms")).write_parquet(
        question.output
    )


if __name__ == "__main__":
    main()
