-- Which products are rated more often than usual? Its bound lies where the sample's favourites cross it again and again.
-- stream = "ratings"
-- window = "tumbling 5s"
-- key = ["category", "product_id"]
-- [alert]
-- when = "times > 850"
-- clear = "times < 845"
-- for = 2
-- repeat = "20s"

SELECT window_start, window_end, category, product_id, COUNT(*) AS times
FROM windowed
GROUP BY window_start, window_end, category, product_id
HAVING COUNT(*) > 100
