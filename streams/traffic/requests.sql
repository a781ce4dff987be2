-- How many requests does each business get in 60 seconds?
-- stream = "traffic"
-- window = "tumbling 60s"
-- key = ["business_id"]
-- page = { value = "requests", weight = "requests", label = "business", draw = ["line", "table"] }

SELECT window_start, window_end, business_id, MIN(business) AS business,
       COUNT(*) AS requests,
       COUNT(*) FILTER (WHERE status >= 400) AS errors
FROM windowed
GROUP BY window_start, window_end, business_id
