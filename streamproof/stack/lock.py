"""Choose the Maven artifacts and write ``artifacts.lock``: ``python -m streamproof.stack.lock``, for maintainers.

NiFi's distribution is not published as an artifact, so its home is put together from its parts. Only here are
dependencies resolved; a set-up fetches exactly what the lock file names.
"""

import io
import re
import zipfile
from pathlib import Path

from jgo.maven import MavenContext

from streamproof.core.command import console
from streamproof.stack.artifacts import LOCK, digest

KAFKA = "4.4.0"
NIFI = "2.3.0"
CONNECTOR = "5.0.0-2.2"

_NIFI_LIBRARY = [
    *(f"org.slf4j:{name}:2.0.17:jar" for name in ("slf4j-api", "log4j-over-slf4j", "jcl-over-slf4j", "jul-to-slf4j")),
    *(f"ch.qos.logback:{name}:1.5.17:jar" for name in ("logback-classic", "logback-core")),
    "org.apache.nifi:nifi-api:2.0.0:jar",
    *(
        f"org.apache.nifi:nifi-{name}:{NIFI}:jar"
        for name in (
            "framework-api",
            "nar-utils",
            "properties",
            "property-utils",
            "python-framework-api",
            "runtime",
            "server-api",
            "stateless-api",
        )
    ),
    *(
        f"org.apache.nifi:nifi-{name}-nar:{NIFI}:nar"
        for name in (
            "framework",
            "server",
            "jetty",
            "provenance-repository",
            "standard-services-api",
            "standard-shared",
            "record-serialization-services",
            "py4j",
        )
    ),
]
_NIFI_PYTHON = [f"org.apache.nifi:nifi-python-{name}:{NIFI}:jar" for name in ("framework", "extension-api")]
# The parents of the NAR that holds the standard processors: what they hold already is left out of it.
_PARENTS = ("nifi-standard-shared-nar", "nifi-standard-services-api-nar", "nifi-jetty-nar")

# Artifacts whose version is their parent's, which the resolver does not fill in.
_VERSION_OF_THE_PARENT = {"com.aayushatharva.brotli4j:service": "1.18.0", "com.yahoo.datasketches:memory": "0.9.0"}


def lock() -> None:
    """Resolve every artifact and write the lock file."""
    context = MavenContext(timeout=120)
    parts = {
        # slf4j-simple writes Kafka's warnings to standard error, so that its log says why it ended
        "kafka": _with_dependencies(context, f"org.apache.kafka:kafka_2.13:{KAFKA}", "org.slf4j:slf4j-simple:1.7.36"),
        "nifi": _NIFI_LIBRARY,
        "nifi-standard": _with_dependencies(context, f"org.apache.nifi:nifi-standard-processors:{NIFI}"),
        "nifi-python": _NIFI_PYTHON,
        "flink": [f"org.apache.flink:flink-sql-connector-kafka:{CONNECTOR}:jar"],
    }
    inherited = {_library(jar) for nar in _NIFI_LIBRARY if nar.split(":")[1] in _PARENTS for jar in _jars(context, nar)}
    inherited |= {jar.split(":")[1] for jar in _NIFI_LIBRARY}
    parts["nifi-standard"] = [jar for jar in parts["nifi-standard"] if jar.split(":")[1] not in inherited]
    lines = ["# part group:name:version:packaging sha256 (written by python -m streamproof.stack.lock)"]
    for part, artifacts in parts.items():
        lines += [f"{part} {artifact} {digest(_file(context, artifact))}" for artifact in sorted(set(artifacts))]
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"{LOCK.name}: {len(lines) - 1} artifacts")


def _with_dependencies(context: MavenContext, *roots: str) -> list[str]:
    inputs = [context.create_dependency(root) for root in roots]
    resolved, transitive = context.resolver.resolve(inputs)
    return [
        f"{d.groupId}:{d.artifactId}:{_VERSION_OF_THE_PARENT.get(f'{d.groupId}:{d.artifactId}', d.version)}:{d.type}"
        for d in (*resolved, *transitive)
        if d.scope in (None, "compile", "runtime") and d.type == "jar"
    ]


def _file(context: MavenContext, artifact: str) -> Path:
    group, name, version, packaging = artifact.split(":")
    return Path(context.project(group, name).at_version(version).artifact(packaging=packaging).resolve())


def _jars(context: MavenContext, nar: str) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(_file(context, nar).read_bytes())) as content:
        return [Path(name).name for name in content.namelist() if name.endswith(".jar")]


def _library(jar: str) -> str:
    """Return a jar's name without its version."""
    return re.sub(r"-\d[\w.+-]*\.jar$", "", jar)


if __name__ == "__main__":
    lock()
