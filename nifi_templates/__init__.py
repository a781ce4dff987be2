"""The NiFi flow: its definition, its processors, and its deployment."""
