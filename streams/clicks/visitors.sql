-- How many visitors has the day had so far?
-- stream = "clicks"
-- window = "cumulative 1d / 1h"
-- key = []
-- page = { value = "visitors", weight = "actions", draw = ["line", "table"] }

SELECT window_start, window_end,
       COUNT(DISTINCT user_id) AS visitors,
       COUNT(DISTINCT CASE WHEN event_type = 'purchase' THEN user_id END) AS buyers,
       COUNT(*) AS actions
FROM windowed
GROUP BY window_start, window_end
