-- What the windows of a run must be, from the rows of its CSV files alone.
--
-- sent: the rows that were sent (category, key, measure), each with `steps`: how many intervals (pace interval) or
-- milliseconds of the file's own time (pace file) it lies behind the run's first moment.
-- The event time is start + floor(steps * numerator / denominator), in whole numbers throughout.

CREATE OR REPLACE TABLE truth AS
WITH timed AS (
    SELECT category, key, measure,
           ($start + steps::HUGEINT * $numerator::HUGEINT // $denominator::HUGEINT)::BIGINT AS event_time
    FROM sent
),
-- Each row lies in one pane as long as the slide; a window is `size / slide` panes, and the panes of count, sum, least
-- and greatest add up exactly.
panes AS (
    SELECT category, key, event_time - ((event_time % $slide) + $slide) % $slide AS pane,
           count(*) AS n, sum(measure) AS total, min(measure) AS least, max(measure) AS greatest
    FROM timed
    GROUP BY ALL
),
-- [window_start, window_end), aligned to the epoch: a window begins at each multiple of the slide.
paned AS (
    SELECT unnest(range(pane - $size + $slide, pane + $slide, $slide)) AS window_start,
           category, key, n, total, least, greatest
    FROM panes
)
SELECT category, key, window_start, window_start + $size AS window_end,
       sum(n)::BIGINT AS n, sum(total) AS total, min(least) AS least, max(greatest) AS greatest
FROM paned
GROUP BY ALL
