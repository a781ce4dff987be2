-- What was put into a cart during the day, and neither bought nor taken out again?
-- stream = "clicks"
-- window = "tumbling 1d"
-- key = ["user_id", "product_id"]
-- page = { value = "price", weight = "price", draw = ["table"] }

SELECT window_start, window_end, user_id, product_id, MAX(price) AS price,
       COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
       MAX(event_time) AS last_seen
FROM windowed
GROUP BY window_start, window_end, user_id, product_id
HAVING COUNT(*) FILTER (WHERE event_type = 'purchase') = 0
   AND COUNT(*) FILTER (WHERE event_type = 'cart') > COUNT(*) FILTER (WHERE event_type = 'remove_from_cart')
