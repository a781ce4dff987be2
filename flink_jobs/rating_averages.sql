-- Sliding averages: for each run, category, key and window of event time, the count, sum, average, minimum and
-- maximum of the measure. The names (${key}, ${measure}) come from the stream's contract, size and slide from
-- the submission; the tables around this query are made in flink_jobs/tables.py.

-- At-least-once delivery may bring a row several times: only the first copy counts. Copies have the same event time,
-- so they meet in the same pane, a tumbling window as long as the slide. The watermark closes panes and clears their
-- state, so what is remembered does not grow with the run. Windows are whole numbers of panes.
CREATE TEMPORARY VIEW first_copies AS
SELECT run, category, `${key}`, `${measure}`, window_time AS pane_time
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY window_start, window_end, run, category, seq ORDER BY event_ts) AS copy
    FROM TABLE(TUMBLE(TABLE stream_rows, DESCRIPTOR(event_ts), ${slide})))
WHERE copy = 1;

-- The average is a double: AVG over whole numbers would be cut to a whole number.
INSERT INTO windows
SELECT
    '${job}', run, category, `${key}`,
    CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)),
    ${size_ms}, ${slide_ms},
    COUNT(*), SUM(`${measure}`), CAST(SUM(`${measure}`) AS DOUBLE) / COUNT(*), MIN(`${measure}`), MAX(`${measure}`)
FROM TABLE(HOP(TABLE first_copies, DESCRIPTOR(pane_time), ${slide}, ${size}))
GROUP BY run, category, `${key}`, window_start, window_end;
