"""NiFi processors in Python, for NiFi 2: an MQTT source that acknowledges late, a Kafka sink, and what tells the edge.

NiFi loads this folder as it lies here. It loads each file as a module of its own, by its bare file name, first
those without a processor: so a processor imports its neighbours by bare name, and they import none.
"""
