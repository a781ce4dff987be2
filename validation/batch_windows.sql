-- What the windows of a run must be, from the rows of its CSV files alone.
--
-- sent: the rows that were sent (category, key, measure, actor), each with `steps`: how many intervals (pace interval)
-- or milliseconds of the file's own time (pace file) it lies behind the run's first moment.
-- The event time is start + floor(steps * numerator / denominator), in whole numbers throughout.
-- What stands between braces is for the measures that do not simply add up (validation/batch_windows.py).

CREATE OR REPLACE TABLE truth AS
WITH timed AS (
    SELECT category, key, measure, actor,
           ($start + steps::HUGEINT * $numerator::HUGEINT // $denominator::HUGEINT)::BIGINT AS event_time
    FROM sent
),
-- Each row lies in one pane as long as the slide; a window is whole panes, and the panes of count, sum, least and
-- greatest add up exactly.
panes AS (
    SELECT category, key, event_time - ((event_time % $slide) + $slide) % $slide AS pane,
           count(*) AS n, sum(measure) AS total, min(measure) AS least, max(measure) AS greatest ${kept}
    FROM timed
    GROUP BY ALL
),
-- [window_start, window_end), aligned to the epoch. A sliding window begins at each multiple of the slide; the first
-- that holds a pane ends with it, the last begins with it. Cumulative windows begin at a multiple of the size, their
-- period; the last that holds a pane ends with the period.
paned AS (
    SELECT *, unnest(range(pane + $slide, last_start + $size + 1, $slide)) AS window_end
    FROM (
        SELECT *, CASE WHEN $cumulative THEN pane - ((pane % $size) + $size) % $size ELSE pane END AS last_start
        FROM panes
    )
),
summed AS (
    SELECT category, key, CASE WHEN $cumulative THEN last_start ELSE window_end - $size END AS window_start, window_end,
           sum(n)::BIGINT AS n, sum(total) AS total, min(least) AS least, max(greatest) AS greatest ${joined}
    FROM paned
    GROUP BY ALL
)
SELECT category, key, window_start, window_end, n, total, least, greatest ${told}
FROM summed
