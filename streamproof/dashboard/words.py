"""How the page writes times, values and keys for people."""

from datetime import UTC, datetime
from decimal import Decimal

from validation.live.lake_batch import LakeBatch
from validation.live.results import Key

_DIGITS = 6


def moment(milliseconds: int) -> str:
    """Write a moment of event time for people: to the second, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def shown(value: object) -> str:
    """Write a value of an answer: whole numbers and decimals exactly, other numbers to six digits, else as it is."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        text = f"{value:,f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, float):
        return f"{value:,.{_DIGITS}g}" if abs(value) < 10**_DIGITS else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.isoformat(" ", timespec="milliseconds" if value.microsecond else "seconds")
    return str(value)


def say_lake(found: LakeBatch) -> str:
    """Say up to where the lake's answers go, and how the stream's compare with them."""
    until = f"up to {moment(found.done_to)}" if found.done_to else "of the whole run"
    said = f"The lake's batch has {found.answers:,} answers, {until}."
    if found.counts is None:
        return f"{said} They were not compared with the stream's."
    if not found.differing:
        return f"{said} None of the stream's differs."
    counts = found.counts
    what = {"have another value": counts.wrong, "are missing": counts.missing, "should not be there": counts.extra}
    return f"{said} Of the stream's {', '.join(f'{count:,} {how}' for how, count in what.items() if count)}."


def name_of_key(names: tuple[str, ...], key: Key) -> str:
    """Write a key in one line: its values in their order, the category last and in brackets."""
    if not names:
        return "all rows"
    values = ["none" if value is None else value for name, value in zip(names, key, strict=True) if name != "category"]
    of_category = [f"({value})" for name, value in zip(names, key, strict=True) if name == "category" and values]
    return " ".join([" · ".join(values), *of_category]) if values else str(key[0])


def say_count(count: int, shown: int) -> str:
    """Say how many answers there are, and how many of them are shown."""
    if shown < count:
        return f"The first {shown:,} of {count:,} answers"
    return "One answer" if count == 1 else f"All {count:,} answers"
