-- Which brands need marketing over all days: 300 views at least, and less than one purchase for 100 of them?
-- stream = "clicks"
-- run = "batch"
-- window = "whole run"
-- key = ["brand"]
-- page = {weight = "viewed"}

SELECT window_start, window_end, brand,
       COUNT(*) FILTER (WHERE event_type = 'view') AS viewed,
       COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
       COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchases
FROM windowed
WHERE brand IS NOT NULL
GROUP BY window_start, window_end, brand
HAVING viewed >= 300 AND purchases * 100 < viewed
