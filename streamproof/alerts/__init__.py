"""Alerts: computed from committed answers, written to a topic of their own exactly once, and delivered."""
