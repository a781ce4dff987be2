"""Sinks: what Kafka's topics hold is kept elsewhere too, each record once, and can be read back and compared."""
