-- How far apart are the ratings of each product, and by how many users are they?
-- stream = "ratings"
-- window = "sliding 30s / 5s"
-- key = ["category", "product_id"]
-- page = { value = "rating_stddev", weight = "rating_count" }

SELECT run, window_start, window_end, category, product_id, rating_count, users,
       -- The population's deviation. Tenths are whole numbers, and nothing is rounded before the root.
       SQRT(CAST(rating_count * squares - tenths * tenths AS DOUBLE)) / (rating_count * 10E0) AS rating_stddev
FROM (
    SELECT run, window_start, window_end, category, product_id,
           COUNT(*) AS rating_count,
           COUNT(DISTINCT user_id) AS users,
           SUM(CAST(rating * 10 AS DECIMAL(38, 0))) AS tenths,
           SUM(CAST(rating * 10 AS DECIMAL(38, 0)) * CAST(rating * 10 AS DECIMAL(38, 0))) AS squares
    FROM windowed
    GROUP BY run, window_start, window_end, category, product_id
) AS summed
