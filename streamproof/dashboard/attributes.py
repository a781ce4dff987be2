"""HTML attributes: names that Python cannot spell, and links to what the page can open."""

from typing import Any
from urllib.parse import quote


def attributes(**named: str) -> dict[str, Any]:
    """Return ``aria-label`` for ``aria_label``, and so on; for ``**`` in a component."""
    return {name.replace("_", "-"): value for name, value in named.items()}


def link_to(kind: str, name: str) -> str:
    """Return the link, a fragment of the page's address, that opens a window or a dead letter."""
    return f"#{kind}={quote(name, safe='')}"
