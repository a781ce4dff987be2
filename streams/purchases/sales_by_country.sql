-- How much has each country bought so far today? Its place on the map is the middle of its sales.
-- stream = "purchases"
-- window = "cumulative 1d / 1h"
-- key = ["country"]
-- page = { value = "revenue", weight = "revenue", label = "country", latitude = "latitude", longitude = "longitude", draw = ["bars", "map", "table"] }

SELECT window_start, window_end, country,
       CAST(SUM(latitude) AS DOUBLE) / COUNT(*) AS latitude, CAST(SUM(longitude) AS DOUBLE) / COUNT(*) AS longitude,
       COUNT(*) AS orders, SUM(revenue) AS revenue
FROM windowed
WHERE status = 'completed'
GROUP BY window_start, window_end, country
