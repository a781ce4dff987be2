-- How much does each user do in a minute? More than ten actions are a bot's, or a flood.
-- stream = "clicks"
-- window = "tumbling 60s"
-- key = ["user_id"]
-- alert = "actions > 10"
-- page = { value = "actions", weight = "actions", draw = ["line", "table"] }

SELECT window_start, window_end, user_id,
       COUNT(*) AS actions,
       COUNT(*) FILTER (WHERE event_type = 'view') AS viewed,
       COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
       COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchases
FROM windowed
GROUP BY window_start, window_end, user_id
