-- Which ten businesses have most requests in 60 seconds against their average of the last hour? 30 at least count.
-- stream = "traffic"
-- window = "tumbling 60s"
-- key = ["business_id"]
-- alert = "ratio >= 10 AND recent >= 300"
-- page = { value = "ratio", weight = "ratio", label = "business", latitude = "latitude", longitude = "longitude", draw = ["map", "table"] }
-- [again]
-- rows = "paced"
-- time = "noted"
-- window = "tumbling 60s"

CREATE TEMPORARY VIEW minutes AS
SELECT window_time AS noted, business_id,
       MIN(business) AS business, MIN(city) AS city, MIN(country) AS country,
       MIN(latitude) AS latitude, MIN(longitude) AS longitude,
       COUNT(*) AS recent
FROM windowed
GROUP BY window_start, window_end, window_time, business_id;

CREATE TEMPORARY VIEW paced AS
SELECT noted, business_id, business, city, country, latitude, longitude, recent,
       SUM(recent) OVER (
           PARTITION BY business_id ORDER BY noted
           RANGE BETWEEN INTERVAL '59' MINUTE PRECEDING AND CURRENT ROW) AS hourly
FROM minutes;

SELECT window_start, window_end, place, business_id, business, city, country, latitude, longitude,
       recent, CAST(hourly AS DOUBLE) / 60 AS average, ratio
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY ratio DESC, business_id) AS place
    FROM (
        SELECT window_start, window_end, business_id, business, city, country, latitude, longitude, recent, hourly,
               CAST(recent AS DOUBLE) * 60 / hourly AS ratio
        FROM again
        WHERE recent >= 30) AS rated) AS ranked
WHERE place <= 10
