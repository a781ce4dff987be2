"""The Flink jobs: one SQL file for each, and their submission to a cluster."""
