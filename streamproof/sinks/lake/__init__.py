"""The lake: what Kafka holds of a stream, kept as Iceberg tables that other programs read as well."""
