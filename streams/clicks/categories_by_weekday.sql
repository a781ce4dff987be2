-- Which three categories have most actions on each weekday, Monday being 1, over all weeks?
-- stream = "clicks"
-- run = "batch"
-- window = "whole run"
-- key = ["weekday", "place"]

SELECT window_start, window_end, weekday, place, name, actions
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY weekday ORDER BY actions DESC, name) AS place
    FROM (
        SELECT window_start, window_end, EXTRACT(ISODOW FROM event_time) AS weekday,
               COALESCE(category_code, category_id) AS name, COUNT(*) AS actions
        FROM windowed
        GROUP BY window_start, window_end, weekday, name))
WHERE place <= 3
