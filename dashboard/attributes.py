"""HTML attributes whose names Python cannot spell."""

from typing import Any


def attributes(**named: str) -> dict[str, Any]:
    """Return ``aria-label`` for ``aria_label``, and so on; for ``**`` in a component."""
    return {name.replace("_", "-"): value for name, value in named.items()}
