"""The batch truth, the delivery audit, the comparison, and the verdict."""
