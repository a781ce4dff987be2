"""The folder of the checkout whose tests these are."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
