"""The live page: what Kafka holds of a run, the chain's health, and the verdict so far."""
