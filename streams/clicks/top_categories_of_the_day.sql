-- Which five categories have most actions in a day, and which weekday is it?
-- stream = "clicks"
-- window = "tumbling 1d"
-- key = ["place"]
-- page = { value = "actions", weight = "actions", label = "name", draw = ["bars", "table"] }

SELECT window_start, window_end, EXTRACT(ISODOW FROM window_start) AS weekday, place, name, actions, purchases
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY actions DESC, name) AS place
    FROM (
        SELECT window_start, window_end, COALESCE(category_code, category_id) AS name,
               COUNT(*) AS actions, COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchases
        FROM windowed
        GROUP BY window_start, window_end, COALESCE(category_code, category_id)) AS counted) AS ranked
WHERE place <= 5
