-- How many requests does each business get in 60 seconds, and is that many for it?
-- stream = "traffic"
-- window = "tumbling 60s"
-- key = ["business_id"]
-- [models.pace_by_hour]
-- kind = "seasonal-z-score"
-- value = "requests"
-- alert = "score >= 20"
-- [models.pace_rarity]
-- kind = "half-space-trees"
-- limits = { requests = [0, 100], errors = [0, 20] }
-- seed = 1
-- alert = "score >= 0.99"

SELECT window_start, window_end, business_id, MIN(business) AS business,
       COUNT(*) AS requests,
       COUNT(*) FILTER (WHERE status >= 400) AS errors
FROM windowed
GROUP BY window_start, window_end, business_id
