-- How is each product rated?
-- stream = "ratings"
-- window = "sliding 30s / 5s"
-- key = ["category", "product_id"]
-- topic = "averages"
-- page = { value = "rating_avg", weight = "rating_count" }

SELECT run, window_start, window_end, category, product_id,
       COUNT(*) AS rating_count,
       SUM(rating) AS rating_sum,
       CAST(SUM(rating) AS DOUBLE) / COUNT(*) AS rating_avg,
       MIN(rating) AS rating_min,
       MAX(rating) AS rating_max
FROM windowed
GROUP BY run, window_start, window_end, category, product_id
