-- What windows say of a stream: for each run, category, key and window of event time the measures that were chosen, such
-- as count, sum and average. The names (${key}, ${needed}) come from the stream's contract; the window's function
-- (HOP or CUMULATE), size and slide, and the measures (their SQL is in flink_jobs/tables.py, as are the tables around
-- this query) from the submission.

-- At-least-once delivery may bring a row several times: only the first copy counts. Copies have the same event time,
-- so they meet in the same pane, a tumbling window as long as the slide. The watermark closes panes and clears their
-- state, so what is remembered does not grow with the run. Windows are whole numbers of panes.
CREATE TEMPORARY VIEW first_copies AS
SELECT run, category, `${key}`, ${needed}, window_time AS pane_time
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY window_start, window_end, run, category, seq ORDER BY event_ts) AS copy
    FROM TABLE(TUMBLE(TABLE stream_rows, DESCRIPTOR(event_ts), ${slide})))
WHERE copy = 1;

INSERT INTO windows
SELECT
    '${job}', run, category, `${key}`,
    CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)),
    ${size_ms}, ${slide_ms}, '${kind}',
    ${measures}
FROM TABLE(${function}(TABLE first_copies, DESCRIPTOR(pane_time), ${slide}, ${size}))
GROUP BY run, category, `${key}`, window_start, window_end;
