-- How much of each product is sold in an hour?
-- stream = "purchases"
-- window = "tumbling 1h"
-- key = ["product"]
-- page = { value = "revenue", weight = "revenue", draw = ["bars", "line", "table"] }

SELECT window_start, window_end, product, MIN(brand) AS brand, MIN(product_category) AS product_category,
       COUNT(*) AS orders, SUM(quantity) AS pieces, SUM(revenue) AS revenue, SUM(commission) AS commission
FROM windowed
WHERE status = 'completed'
GROUP BY window_start, window_end, product
