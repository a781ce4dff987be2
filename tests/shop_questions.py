# ruff: noqa: E501 (SQL)
"""A shop's stream, its rows, and questions about it: what the tests of questions ask in both engines."""

import random
from decimal import Decimal

from streamproof.core.contract import parse_contract
from streamproof.core.question import parse_question

SHOP = parse_contract(
    {
        "name": "shop",
        "event_time": "taken",
        "fields": {
            **{name: {"type": "text"} for name in ("event_type", "product_id", "brand", "user_id", "city", "note")},
            "price": {"type": "decimal", "scale": 2},
            "quantity": {"type": "integer"},
            "bytes": {"type": "integer"},
            "taken": {"type": "time", "unit": "ms"},
        },
    },
    "test",
)

START = 1_571_270_340_000  # 2019-10-16T23:59:00Z: a Wednesday ends
CITIES = ("Köln", "Évry", "İzmir", "Ulm", "ulm", "Straße")
NOTES = ("-", "50% off", "a_b", "gift ", "GIFT", "axb")
BRANDS = ("-", "aqua", "bolt", "Cora", "dune")


def rows_of_a_shop(seed=1, count=300, apart=2_003):
    """Rows in the order of their event time; ``-`` is what questions turn into NULL."""
    chance, rows = random.Random(seed), []
    for seq in range(1, count + 1):
        event_time = START + (seq - 1) * apart
        if seq % 20 < 2:
            event_time = event_time // 10_000 * 10_000 + 10_000 * (seq % 20) - 1  # the last of a pane
        rows.append(
            {
                "category": "web",
                "seq": seq,
                "event_time": event_time,
                "event_type": chance.choice(("view", "view", "view", "cart", "purchase")),
                "product_id": f"p{min(int(chance.paretovariate(1)), 9)}",
                "brand": chance.choice(BRANDS),
                "user_id": f"u{min(int(chance.paretovariate(0.7)), 12)}",
                "city": chance.choice(CITIES),
                "note": chance.choice(NOTES),
                "price": Decimal(chance.randrange(1, 99_999)) / 100,
                "quantity": chance.randrange(1, 6),
                "bytes": chance.randrange(1, 90_000),
                "taken": event_time,
            }
        )
    return sorted(rows, key=lambda row: row["event_time"])


def question(name, window, key, body, *, alert=None, more=""):
    header = f'stream = "shop"\nwindow = "{window}"\nkey = {list(key)!r}\n' + (
        f"alert = '''{alert}'''\n" if alert else ""
    )
    comments = "".join(f"-- {line}\n" for line in ["Asked by a test.", *(header + more).splitlines()])
    return parse_question(name, comments + "\n" + body, name)


MINUTE, SLIDING, GROWING = "tumbling 60s", "sliding 60s / 10s", "cumulative 5min / 1min"

CARTS = """SELECT window_start, window_end, user_id, product_id,
    COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
    SUM(price) FILTER (WHERE event_type = 'cart') AS cart_value
FROM windowed GROUP BY window_start, window_end, user_id, product_id
HAVING COUNT(*) FILTER (WHERE event_type = 'cart') > 0 AND COUNT(*) FILTER (WHERE event_type = 'purchase') = 0"""
TOP = """SELECT window_start, window_end, {more} place, product_id, seen FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY seen DESC, product_id) AS place FROM (
        SELECT window_start, window_end, product_id, COUNT(*) AS seen
        FROM windowed WHERE event_type = 'view' AND brand <> '-'
        GROUP BY window_start, window_end, product_id) AS counted) AS ranked
WHERE place <= 3"""
USERS = (
    "SELECT window_start, window_end, user_id, COUNT(*) AS n FROM windowed GROUP BY window_start, window_end, user_id"
)
ALL = "SELECT window_start, window_end, COUNT(*) AS total FROM windowed GROUP BY window_start, window_end"
SURGES = """SELECT window_start, window_end, place, user_id, recent, hourly, ratio FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY ratio DESC, user_id) AS place FROM (
        SELECT window_start, window_end, user_id, recent, hourly, CAST(recent AS DOUBLE) * 5 / hourly AS ratio
        FROM {counted} WHERE recent >= 2) AS rated) AS ranked
WHERE place <= 4"""
STEPS = """CREATE TEMPORARY VIEW minutes AS
SELECT window_time AS noted, user_id, COUNT(*) AS recent
FROM windowed GROUP BY window_start, window_end, window_time, user_id;
CREATE TEMPORARY VIEW paced AS
SELECT noted, user_id, recent, SUM(recent) OVER (
    PARTITION BY user_id ORDER BY noted RANGE BETWEEN INTERVAL '4' MINUTE PRECEDING AND CURRENT ROW) AS hourly
FROM minutes;
"""

QUESTIONS = [
    question("bots", SLIDING, ["user_id"], USERS + " HAVING COUNT(*) > 3", alert="n > 6"),
    question(
        "visitors",
        GROWING,
        [],
        "SELECT window_start, window_end, COUNT(DISTINCT user_id) AS visitors FROM windowed GROUP BY window_start, window_end",
    ),
    question("carts", MINUTE, ["user_id", "product_id"], CARTS),
    question(
        "lost_carts",
        MINUTE,
        [],
        f"SELECT window_start, window_end, COUNT(*) AS lost, SUM(cart_value) AS worth FROM ({CARTS}) AS c "
        "GROUP BY window_start, window_end",
    ),
    question(
        "lost_carts_with",
        GROWING,
        [],
        f"WITH c AS ({CARTS}) SELECT window_start, window_end, COUNT(*) AS lost, SUM(cart_value) AS worth FROM c "
        "GROUP BY window_start, window_end",
        alert="worth > 500",
    ),
    question("top_products", MINUTE, ["place"], TOP.format(more="")),
    question(
        "top_by_weekday",
        GROWING,
        ["place"],
        TOP.format(more="EXTRACT(ISODOW FROM window_start) AS weekday,"),
    ),
    question(
        "brands",
        MINUTE,
        ["brand"],
        """SELECT window_start, window_end, COALESCE(NULLIF(brand, '-'), '(none)') AS brand,
    COUNT(*) FILTER (WHERE event_type = 'view') AS seen,
    CAST(COUNT(*) FILTER (WHERE event_type = 'purchase') AS DOUBLE)
        / NULLIF(COUNT(*) FILTER (WHERE event_type = 'view'), 0) AS rate,
    CASE WHEN COUNT(*) FILTER (WHERE event_type = 'view') = 0 THEN 'nobody looks'
         WHEN COUNT(*) FILTER (WHERE event_type = 'purchase') * 4 < COUNT(*) THEN 'advertise' ELSE 'fine' END AS verdict
FROM windowed GROUP BY window_start, window_end, COALESCE(NULLIF(brand, '-'), '(none)')""",
    ),
    question(
        "brands_or_null",
        SLIDING,
        ["maker"],
        """SELECT window_start, window_end, maker, seen, CAST(bought AS DOUBLE) / NULLIF(seen, 0) AS rate FROM (
    SELECT window_start, window_end, maker, COUNT(*) FILTER (WHERE event_type = 'view') AS seen,
           COUNT(*) FILTER (WHERE event_type = 'purchase') AS bought
    FROM (SELECT *, NULLIF(brand, '-') AS maker FROM windowed) AS w GROUP BY window_start, window_end, maker) AS b""",
    ),
    question(
        "sales",
        MINUTE,
        ["product_id"],
        """SELECT window_start, window_end, product_id, SUM(price * quantity) AS turnover, COUNT(*) AS sales,
    CAST(SUM(price) AS DOUBLE) / COUNT(*) AS mean_price, AVG(CAST(price AS DOUBLE)) AS mean_of_doubles
FROM windowed GROUP BY window_start, window_end, product_id""",
    ),
    question(
        "conversion",
        SLIDING,
        [],
        """SELECT window_start, window_end, COUNT(*) AS attempts, COUNT(*) FILTER (WHERE event_type = 'purchase') AS completed,
    CAST(COUNT(*) FILTER (WHERE event_type = 'purchase') AS DOUBLE) / COUNT(*) AS conversion
FROM windowed GROUP BY window_start, window_end""",
        alert="conversion < 0.10",
    ),
    question(
        "cities",
        MINUTE,
        ["city", "note"],
        "SELECT window_start, window_end, city, note, COUNT(*) AS sales, MIN(event_time) AS opened FROM windowed "
        "WHERE event_type <> 'view' AND MOD(seq, 2) = 0 GROUP BY window_start, window_end, city, note",
    ),
    question(
        "surges_in_one",
        "sliding 5min / 60s",
        ["place"],
        SURGES.format(
            counted="""(SELECT window_start, window_end, user_id, COUNT(*) AS hourly,
            COUNT(*) FILTER (WHERE event_time >= window_end - INTERVAL '60' SECOND) AS recent
        FROM windowed GROUP BY window_start, window_end, user_id) AS counted"""
        ),
        alert="ratio >= 3",
    ),
    question(
        "surges",
        MINUTE,
        ["place"],
        STEPS + SURGES.format(counted="again"),
        alert="ratio >= 3",
        more='[again]\nrows = "paced"\ntime = "noted"\nwindow = "tumbling 60s"\n',
    ),
    question(
        "averages",
        "sliding 30s / 5s",
        ["category", "product_id"],
        """SELECT run, window_start, window_end, category, product_id, COUNT(*) AS price_count, SUM(price) AS price_sum,
    CAST(SUM(price) AS DOUBLE) / COUNT(*) AS price_avg, MIN(price) AS price_min, MAX(price) AS price_max
FROM windowed GROUP BY run, window_start, window_end, category, product_id""",
    ),
    question(
        "two_distincts",
        SLIDING,
        ["city"],
        "SELECT window_start, window_end, city, COUNT(DISTINCT user_id) AS users, COUNT(DISTINCT product_id) AS products "
        "FROM windowed GROUP BY window_start, window_end, city",
    ),
    question(
        "grouping_sets",
        MINUTE,
        ["city", "note"],
        "SELECT window_start, window_end, city, note, COUNT(*) AS n FROM windowed "
        "GROUP BY GROUPING SETS ((window_start, window_end, city), (window_start, window_end, note))",
    ),
    question(
        "rollup",
        MINUTE,
        ["city", "note", "level"],
        "SELECT window_start, window_end, city, note, GROUPING(city) + GROUPING(note) AS level, COUNT(*) AS n FROM windowed "
        "GROUP BY window_start, window_end, ROLLUP (city, note)",
    ),
    question(
        "either",
        MINUTE,
        ["what", "name"],
        "SELECT window_start, window_end, 'city' AS what, city AS name, COUNT(*) AS n FROM windowed "
        "GROUP BY window_start, window_end, city UNION ALL SELECT window_start, window_end, 'user' AS what, user_id AS name, "
        "COUNT(*) AS n FROM windowed GROUP BY window_start, window_end, user_id",
    ),
    question(
        "which",
        MINUTE,
        ["city", "event_type"],
        "SELECT DISTINCT window_start, window_end, city, event_type FROM windowed",
    ),
    question(
        "mean_of_users",
        SLIDING,
        [],
        f"SELECT window_start, window_end, CAST(SUM(n) AS DOUBLE) / COUNT(*) AS mean, MAX(n) AS most FROM ({USERS}) AS u "
        "GROUP BY window_start, window_end",
    ),
    question(
        "sum_of_top",
        MINUTE,
        [],
        f"SELECT window_start, window_end, SUM(seen) AS seen FROM ({TOP.format(more='')}) AS t "
        "GROUP BY window_start, window_end",
    ),
    question(
        "rows_themselves",
        SLIDING,
        ["category", "seq"],
        "SELECT window_start, window_end, category, seq, price, `bytes` FROM windowed WHERE price > 900",
    ),
    question(
        "shares",
        MINUTE,
        ["user_id"],
        f"SELECT u.window_start, u.window_end, u.user_id, CAST(u.n AS DOUBLE) / a.total AS share FROM ({USERS}) AS u "
        f"JOIN ({ALL}) AS a ON u.window_start = a.window_start AND u.window_end = a.window_end",
    ),
    question(
        "purchases_or_none",
        MINUTE,
        ["user_id"],
        f"SELECT window_start, window_end, user_id, n, COALESCE(bought, 0) AS bought FROM ({USERS}) AS u LEFT JOIN "
        "(SELECT window_start, window_end, user_id, SUM(quantity) AS bought FROM windowed WHERE event_type = 'purchase' "
        "GROUP BY window_start, window_end, user_id) AS p USING (window_start, window_end, user_id)",
    ),
    question(
        "who_buys",
        MINUTE,
        ["user_id"],
        f"SELECT * FROM ({USERS}) AS u WHERE EXISTS (SELECT 1 FROM windowed AS w WHERE w.window_start = u.window_start "
        "AND w.window_end = u.window_end AND w.user_id = u.user_id AND w.event_type = 'purchase')",
    ),
    question(
        "who_does_not_buy",
        MINUTE,
        ["user_id"],
        f"SELECT * FROM ({USERS}) AS u WHERE NOT EXISTS (SELECT 1 FROM windowed AS w WHERE w.window_start = u.window_start "
        "AND w.window_end = u.window_end AND w.user_id = u.user_id AND w.event_type = 'purchase')",
    ),
    question(
        "against_the_minute_before",
        MINUTE,
        ["user_id"],
        "SELECT window_start, window_end, user_id, n, n - LAG(n) OVER (PARTITION BY user_id ORDER BY window_time) AS more "
        "FROM (SELECT window_start, window_end, window_time, user_id, COUNT(*) AS n FROM windowed "
        "GROUP BY window_start, window_end, window_time, user_id) AS u",
    ),
    question(
        "variants",
        MINUTE,
        ["city"],
        """SELECT window_start, window_end, city,
    -- flink: DATE_FORMAT(window_end, 'yyyy-MM-dd HH:mm') AS until,
    -- batch: STRFTIME(window_end, '%Y-%m-%d %H:%M') AS until,
    COUNT(*) AS n
FROM windowed GROUP BY window_start, window_end, city""",
    ),
]

ALWAYS = {
    *("bots", "lost_carts_with", "top_products", "brands_or_null", "surges_in_one"),
    *("grouping_sets", "either", "shares", "who_does_not_buy", "against_the_minute_before", "variants"),
}
"""Those of the questions that stand for the others where there is little time."""

_GROUPS = "window_start, window_end, city, note"


def expressions(name, columns, window=MINUTE, rows="windowed"):
    """A question that gives, by city and note, a column for each expression: ``c0``, ``c1`` …"""
    own = ",\n    ".join(f"{expression} AS c{place}" for place, expression in enumerate(columns))
    return question(name, window, ["city", "note"], f"SELECT {_GROUPS},\n    {own}\nFROM {rows} GROUP BY {_GROUPS}")


AMOUNT = "CAST(SUM(price) AS DOUBLE)"

NUMBERS = [
    "SUM(quantity)", "MOD(SUM(quantity), 7)", "SUM(quantity) % 7", "SUM(price) * 1.19", "SUM(price * quantity)",
    "GREATEST(SUM(quantity), COUNT(*))", "LEAST(MIN(price), 3)", "ABS(-SUM(price))", "CEIL(SUM(price))",
    "ROUND(SUM(price), 1)", "ROUND(0.125, 2)", "CAST(SUM(price) AS DECIMAL(20, 1))", "-SUM(quantity)",
    f"{AMOUNT} / COUNT(*)", "1E0 * COUNT(quantity) / COUNT(*)", "SUM(CAST(price AS DOUBLE))",
    "AVG(CAST(price AS DOUBLE))", f"FLOOR({AMOUNT} / COUNT(*))", f"SQRT({AMOUNT})",
    f"LN({AMOUNT})", f"LOG10({AMOUNT})", "EXP(CAST(COUNT(*) AS DOUBLE) / 1000)",
    "POWER(CAST(SUM(quantity) AS DOUBLE), 1.5)", "ROUND(CAST(-2.5 AS DOUBLE))",
    "SQRT(CAST(COUNT(*) * SUM(price * price) - SUM(price) * SUM(price) AS DOUBLE)) / COUNT(*)",
    "CAST(SUM(quantity) AS DOUBLE) / NULLIF(COUNT(*) - COUNT(*), 0)", "SUM(quantity) FILTER (WHERE quantity < 0)",
    "CAST(SUM(quantity) AS DOUBLE) / (COUNT(*) - COUNT(*))",
    "COALESCE(SUM(quantity) FILTER (WHERE quantity < 0), 0)", "COUNT(NULLIF(quantity, 3))",
    "COUNT(*) FILTER (WHERE NULLIF(quantity, 3) NOT IN (1, 2))",
    "COUNT(*) FILTER (WHERE quantity IS DISTINCT FROM 3)",
    "COUNT(DISTINCT user_id) FILTER (WHERE event_type = 'view')", "COUNT(DISTINCT user_id || product_id)",
    "COUNT(*) > 2", "CASE WHEN COUNT(*) > 1000000 THEN 1 END", "SUM(CASE WHEN event_type = 'cart' THEN 1 ELSE 0 END)",
    "MIN(taken)",
]  # fmt: skip
"""What both engines compute alike, doubles to within 1e-12."""

TEXTS = [
    "MIN(product_id)", "MAX(product_id)", "city < 'a'", "city LIKE 'U%'", "city LIKE 'u%'", "note LIKE '50%'",
    "note LIKE 'a_b'", "note LIKE '50\\% %' ESCAPE '\\'", "city SIMILAR TO '(Ulm|ulm)'", "SUBSTRING(city, 1, 2)",
    "SUBSTRING(city FROM 2 FOR 2)", "SUBSTRING(city, -2)", "SUBSTRING(city, 40)", "LEFT(city, 2)", "CHAR_LENGTH(city)",
    "city || '/' || note", "TRIM(note)", "TRIM(BOTH 'x' FROM note)", "REPLACE(city, 'l', 'L')",
    "POSITION('l' IN city)", "REVERSE(city)", "LPAD(city, 8, '*')", "OVERLAY(city PLACING 'xx' FROM 1)",
    "REGEXP_REPLACE(city, 'l', 'L')", "MD5(city)", "SHA256(city)", "NULLIF(city, 'Ulm')", "note = 'gift'",
    "CAST(COUNT(*) AS VARCHAR(40))", "CAST(SUM(price) AS VARCHAR(40))", "CONCAT(city, '/', note)",
]  # fmt: skip

TIMES = [
    *(f"EXTRACT({part} FROM window_end)" for part in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "ISODOW", "DOY")),
    *(f"EXTRACT({part} FROM window_end)" for part in ("HOUR", "MINUTE", "SECOND", "ISOYEAR")),
    "HOUR(window_end)", "CAST(window_start AS DATE)", "window_start + INTERVAL '90' MINUTE",
    "window_start + INTERVAL '1' DAY", "window_start + INTERVAL '1' MONTH",
    "window_end > TIMESTAMP '2019-10-17 00:02:00'", "MIN(event_time)",
    "COUNT(*) FILTER (WHERE EXTRACT(HOUR FROM event_time) = 0)",
    "COUNT(*) FILTER (WHERE event_time >= window_end - INTERVAL '10' SECOND)",
]  # fmt: skip

DISAGREEMENTS = {
    "ROUND(CAST(SUM(price) AS DOUBLE) / COUNT(*), 2)": "halves, which a double only comes near",
    "CAST(CAST(SUM(price) AS DOUBLE) / COUNT(*) AS BIGINT)": "Flink cuts, DuckDB rounds",
    "CAST(SUM(price) AS BIGINT)": "the same of decimals",
    "SUM(quantity * 1000000000000000000)": "Flink overflows without a word",
    "GREATEST(COUNT(*), NULLIF(1, 1))": "NULL in Flink",
    "CONCAT(city, NULLIF(note, note))": "NULL in Flink",
    "LOWER(city)": "İ",
    "UPPER(city)": "ß",
    "SUBSTRING(city, 0, 2)": "the place before the first",
    "REGEXP_EXTRACT(city, '([A-Z])', 1)": "without a match",
    "ASCII(city)": "beyond ASCII",
    "EXTRACT(DOW FROM window_end)": "Sunday is 1 or 0",
    "CAST(window_start AS VARCHAR(40))": "milliseconds",
}
"""What both take, with the same type, and answer differently; why."""
