-- How much is sold in each city in an hour?
-- stream = "purchases"
-- window = "tumbling 1h"
-- key = ["country", "city"]
-- page = { value = "revenue", weight = "revenue", label = "city", latitude = "latitude", longitude = "longitude", draw = ["map", "table"] }

SELECT window_start, window_end, country, city, MIN(latitude) AS latitude, MIN(longitude) AS longitude,
       COUNT(*) AS orders, SUM(revenue) AS revenue
FROM windowed
WHERE status = 'completed'
GROUP BY window_start, window_end, country, city
