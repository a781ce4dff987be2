-- Which share of the purchases that are begun in an hour is completed?
-- stream = "purchases"
-- window = "tumbling 1h"
-- key = []
-- alert = "conversion < 0.10"
-- page = { value = "conversion", weight = "attempts", draw = ["line", "table"] }

SELECT window_start, window_end,
       COUNT(*) AS attempts,
       COUNT(*) FILTER (WHERE status = 'completed') AS completed,
       CAST(COUNT(*) FILTER (WHERE status = 'completed') AS DOUBLE) / COUNT(*) AS conversion
FROM windowed
GROUP BY window_start, window_end
