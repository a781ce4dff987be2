"""The words of a page, derived from the contract: ``product_id`` is a product, ``rating`` is rated."""

from datetime import UTC, datetime

from streamproof.core.contract import Contract


def thing(contract: Contract) -> str:
    """Return what a key stands for: ``product`` for ``product_id``."""
    return contract.key.removesuffix("_id").replace("_", " ")


def measured(contract: Contract) -> str:
    """Return what is measured, in words."""
    return contract.measure.replace("_", " ")


def moment(milliseconds: int) -> str:
    """Write a moment of event time for people: to the second, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def milliseconds_of(iso: str) -> int:
    """Return the milliseconds since the epoch of a moment in ISO 8601."""
    return round(datetime.fromisoformat(iso).timestamp() * 1000)
