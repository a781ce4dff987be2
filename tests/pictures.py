"""The pictures of the documentation, taken by the tests of pages in a browser."""

import os

from checkout import CHECKOUT

PICTURES = CHECKOUT / "docs" / "pictures"


def picture(shown, name):
    """Renew a picture, of a page or of a part of one, when STREAMPROOF_PICTURES is set."""
    if os.environ.get("STREAMPROOF_PICTURES"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        shown.screenshot(path=PICTURES / f"{name}.png")
