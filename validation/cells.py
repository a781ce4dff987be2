"""What a CSV cell means, in DuckDB's SQL: the value of a field, or NULL where the cell does not fit."""

from streamproof.core.contract import TRUE, ContractField
from streamproof.core.time_format import END_OF_TIME, MONTHS, time_format

_DAY = 86_400_000
"""Milliseconds. A zone's offset does not change twice within two of them."""

_TO_MILLISECONDS = {"s": 3, "ms": 0, "us": -3, "ns": -6}
"""By how many digits the point moves."""


def cell_value(cell: str, field: ContractField) -> str:
    """Return the expression for a field's value, in milliseconds of a time, from that for its cell."""
    if field.type == "text":
        return f"nullif({cell}, '')"
    if field.format:
        return _with_(f"regexp_extract({cell}, '^(?:{quoted(field.pattern)})$', {list(_parts(field))})", _moment(field))
    return f"CASE WHEN regexp_full_match({cell}, '{quoted(field.pattern)}') THEN {_value(cell, field)} END"


def quoted(text: str) -> str:
    """Return a text as it stands between SQL's quotes."""
    return text.replace("'", "''")


def _value(cell: str, field: ContractField) -> str:
    if field.type == "boolean":
        return f"lower({cell}) IN {TRUE}"
    if field.type == "time":
        return _epoch(cell, _TO_MILLISECONDS[field.unit or "ms"])
    if field.thousands:
        cell = f"replace({cell}, '{quoted(field.thousands)}', '')"
    if field.decimal == ",":
        cell = f"replace({cell}, ',', '.')"
    return f"CAST(ltrim({cell}, '+') AS {field.duckdb_type})"


def _epoch(cell: str, shift: int) -> str:
    """Return the milliseconds of a number such as 1594512094.385975 or 1.594512094385975E9, by moving its point."""
    digits = "(r.whole || r.fraction)"
    length = f"(length(r.whole) + coalesce(TRY_CAST(r.exponent AS INTEGER), 0) + {shift})::INTEGER"
    moved = f"CASE WHEN {length} > 0 THEN CAST(left(rpad({digits}, {length}, '0'), {length}) AS BIGINT) ELSE 0 END"
    parts = r"'^([0-9]+)(?:\.([0-9]*))?(?:[eE]\+?([0-9]+))?$', ['whole', 'fraction', 'exponent']"
    slow = _with_(f"regexp_extract({cell}, {parts})", moved)
    if shift < 0:
        return slow
    others = " AND ".join(f"NOT contains({cell}, '{sign}')" for sign in ".eE")
    return f"CASE WHEN {others} THEN CAST({cell} AS BIGINT) * {10**shift} ELSE {slow} END"


def _parts(field: ContractField) -> tuple[str, ...]:
    return time_format(field.format or "").parts


def _moment(field: ContractField) -> str:
    """Return the milliseconds since the epoch from the parts ``r`` of a time in words."""
    parts = _parts(field)
    year = "r.year"
    if "year" not in parts:
        year = "CASE WHEN r.short_year < '69' THEN '20' ELSE '19' END || r.short_year"
    month = "r.month"
    if "month" not in parts:
        month = f"list_position({list(MONTHS)}, lower(left(r.month_name, 3)))::VARCHAR"
    hour = _number("hour", parts)
    if "hour12" in parts:
        hour = "(CAST(r.hour12 AS BIGINT) % 12 + CASE WHEN lower(r.half) = 'pm' THEN 12 ELSE 0 END)"
    fraction = "CAST(rpad(left(r.fraction, 3), 3, '0') AS BIGINT)" if "fraction" in parts else "0"
    day = f"epoch_ms(TRY_CAST({year} || '-' || lpad({month}, 2, '0') || '-' || lpad(r.day, 2, '0') AS DATE)::TIMESTAMP)"
    local = (
        f"{day} + (({hour} * 60 + {_number('minute', parts)}) * 60 + {_number('second', parts)}) * 1000 + {fraction}"
    )
    moment = _in_zone("t", field)
    if "zone" in parts:
        digits = "rpad(replace(r.zone[2:], ':', ''), 4, '0')"
        ahead = f"(CAST({digits}[1:2] AS BIGINT) * 60 + CAST({digits}[3:4] AS BIGINT)) * 60000"
        moment = f"""CASE WHEN r.zone = '' THEN {moment} WHEN r.zone[1] = '+' THEN t - {ahead}
            WHEN r.zone[1] = '-' THEN t + {ahead} ELSE t END"""
    in_time = f"CASE WHEN m >= 0 AND m < {END_OF_TIME} THEN m END"
    return f"CASE WHEN r.day <> '' THEN {_with_(local, _with_(moment, in_time, 'm'), 't')} END"


def _number(part: str, parts: tuple[str, ...]) -> str:
    return f"coalesce(TRY_CAST(r.{part} AS BIGINT), 0)" if part in parts else "0"


def _in_zone(local: str, field: ContractField) -> str:
    """Return the moment of a local time of the field's zone: the one that the zone's clocks show as this time."""
    if field.timezone in {None, "UTC"}:
        return local

    def shown(moment: str) -> str:
        zone = quoted(field.timezone or "")
        return f"epoch_ms(timezone('{zone}', timezone('UTC', make_timestamp_ms({moment}))))"

    tried = ", ".join(f"{local} - ({shown(f'{local} + {way}')} - ({local} + {way}))" for way in (-_DAY, _DAY))
    fitting = f"list_sort(list_distinct(list_filter([{tried}], lambda x: {shown('x')} = {local})))"
    chosen = {"first": "f[1]", "second": "f[-1]", "reject": "CASE WHEN len(f) = 1 THEN f[1] END"}[field.repeated_hour]
    return _with_(fitting, chosen, "f")


def _with_(value: str, expression: str, name: str = "r") -> str:
    """Return an expression in which ``name`` stands for a value that is computed once."""
    return f"list_transform([{value}], lambda {name}: {expression})[1]"
