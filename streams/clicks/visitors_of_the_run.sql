-- How many visitors did all days have, and how many of them came on two days or more?
-- stream = "clicks"
-- run = "batch"
-- window = "whole run"
-- key = []

SELECT window_start, window_end,
       COUNT(*) AS visitors,
       COUNT(*) FILTER (WHERE days >= 2) AS came_again,
       SUM(actions) AS actions
FROM (
    SELECT window_start, window_end, user_id, COUNT(*) AS actions, COUNT(DISTINCT date_trunc('day', event_time)) AS days
    FROM windowed
    GROUP BY window_start, window_end, user_id)
GROUP BY window_start, window_end
