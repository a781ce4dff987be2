"""The windows of a run from its CSV files with pandas: rows grouped into panes, panes into windows.

What it does differently from the project's validation: it takes the files as they are, without a look at what fits the
contract or whether they have changed; the measure is a double (sums of halves are exact); all of it lies in memory.
pandas has no windows that hop: each pane, as long as the slide, is repeated for each of the windows that it is in.
"""

import pandas as pd

from streamproof.bench.side_by_side.question import BatchQuestion, Progress


def windows(question: BatchQuestion, progress: Progress) -> pd.DataFrame:
    """Return a line for each window."""
    files, start, interval = question.run()
    frames = []
    for category, file in files.items():
        frame = pd.read_csv(
            file,
            header=None,
            names=question.columns.split(","),
            usecols=[question.key, question.measure],
            dtype={question.key: str, question.measure: float},
        )
        progress.rows += len(frame)
        event_time = start + frame.index * interval.numerator // interval.denominator
        frames.append(frame.assign(category=category, pane=event_time // question.slide * question.slide))
    rows = pd.concat(frames, ignore_index=True).astype({"category": "category", question.key: "category"})
    by = ["category", question.key, "pane"]
    panes = (
        rows.groupby(by, observed=True, sort=False)[question.measure].agg(["size", "sum", "min", "max"]).reset_index()
    )
    shifted = [panes.assign(pane=panes["pane"] - before) for before in range(0, question.size, question.slide)]
    return (
        pd.concat(shifted)
        .groupby(by, observed=True, sort=False)
        .agg(n=("size", "sum"), total=("sum", "sum"), least=("min", "min"), greatest=("max", "max"))
        .reset_index()
        .rename(columns={"pane": "window_start"})
    )


def main() -> None:
    """Compute, and then write the file; the writing does not count."""
    question, progress = BatchQuestion.from_arguments(), Progress()
    progress.begin()
    found = windows(question, progress)
    progress.end()
    progress.windows = len(found)
    progress.answer()
    found.to_parquet(question.output)


if __name__ == "__main__":
    main()
