-- How often was each rating given to each product?
-- stream = "ratings"
-- window = "sliding 30s / 5s"
-- key = ["category", "product_id", "rating"]
-- page = { value = "times", weight = "times" }

SELECT run, window_start, window_end, category, product_id, rating, COUNT(*) AS times
FROM windowed
GROUP BY run, window_start, window_end, category, product_id, rating
