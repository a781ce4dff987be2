-- Which brands need marketing: 50 views a day at least, and less than one purchase for 100 of them?
-- stream = "clicks"
-- window = "tumbling 1d"
-- key = ["brand"]
-- page = { value = "viewed", weight = "viewed", draw = ["bars", "table"] }

SELECT window_start, window_end, brand,
       COUNT(*) FILTER (WHERE event_type = 'view') AS viewed,
       COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
       COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchases
FROM windowed
WHERE brand IS NOT NULL
GROUP BY window_start, window_end, brand
HAVING COUNT(*) FILTER (WHERE event_type = 'view') >= 50
   AND COUNT(*) FILTER (WHERE event_type = 'purchase') * 100 < COUNT(*) FILTER (WHERE event_type = 'view')
