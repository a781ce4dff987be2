"""CSV files that are made, from a ``generator.toml`` beside the stream's contract, and what was put in on purpose."""
