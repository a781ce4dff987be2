"""CSV rows to MQTT: read, schedule, publish."""
