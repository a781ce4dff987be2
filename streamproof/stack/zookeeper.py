"""ZooKeeper, by which the nodes of a NiFi cluster choose who leads: one process, its data in ``HOME/zookeeper``.

It is the one that NiFi's own archive carries.
"""

import os
import re
import socket
import tempfile
import zipfile
from pathlib import Path

from streamproof.stack.artifacts import Store, read_lock
from streamproof.stack.configuration import render
from streamproof.stack.java import java_command
from streamproof.stack.part import Part
from streamproof.stack.process import Program
from streamproof.stack.settings import Address, StackSettings

ZOOKEEPER = "zookeeper"
"""The part's name."""

_ARCHIVE = "nifi-framework-nar"
_JARS = re.compile(r"META-INF/bundled-dependencies/((zookeeper|netty|metrics-core|snappy-java|commons-io).*\.jar)")
_LOGGING = re.compile(r"(slf4j-api|logback)-.*\.jar")
_HEAP = 64


def zookeeper_address(settings: StackSettings) -> Address:
    """Return where it listens."""
    return Address("127.0.0.1", settings.zookeeper_port, "STREAMPROOF_STACK_ZOOKEEPER_PORT")


def zookeeper_part(home: Path, cache: Path, store: Store, settings: StackSettings) -> Part:
    """Describe the server."""
    folder, address = home / "zookeeper", zookeeper_address(settings)

    def prepare() -> Program:
        configuration = render("zookeeper.cfg", folder / "zookeeper.cfg", zookeeper=address, data=folder / "data")
        logging = render("nifi-logback.xml", folder / "logback.xml")
        nifi = (artifact for artifact in read_lock() if artifact.part == "nifi")
        jars = [store.path(artifact) for artifact in nifi if _LOGGING.fullmatch(artifact.file)]
        jars += sorted(_library(cache, store).glob("*.jar"))
        java = java_command(
            settings, _HEAP, f"-Dlogback.configurationFile={logging}", "-cp", os.pathsep.join(map(str, jars))
        )
        return Program([*java, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(configuration)], folder)

    def healthy() -> bool:
        with socket.create_connection((address.host, address.port), 3) as connection:
            connection.sendall(b"ruok")
            return connection.recv(4) == b"imok"

    return Part(ZOOKEEPER, ("nifi",), (address,), 120, prepare, healthy)


def _library(cache: Path, store: Store) -> Path:
    """Return the folder of ZooKeeper's jars out of NiFi's archive; it appears whole or not at all."""
    archive = next(artifact for artifact in read_lock() if artifact.name == _ARCHIVE)
    library = cache / "zookeeper" / archive.version
    if not library.is_dir():
        library.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=library.parent, prefix="half-") as half,
            zipfile.ZipFile(store.path(archive)) as content,
        ):
            whole = Path(half) / "library"
            whole.mkdir()
            for name in content.namelist():
                if found := _JARS.fullmatch(name):
                    (whole / found[1]).write_bytes(content.read(name))
            whole.rename(library)
    return library
