"""NiFi: its program put together once in the cache, its configuration and data in ``HOME/nifi``."""

import contextlib
import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from streamproof.core.errors import UsageError
from streamproof.core.settings import NifiSettings
from streamproof.stack.artifacts import Artifact, Store, read_lock
from streamproof.stack.authority import Authority
from streamproof.stack.configuration import render
from streamproof.stack.java import java_command
from streamproof.stack.part import Part
from streamproof.stack.process import Processes, Program, end
from streamproof.stack.rest import rest_client
from streamproof.stack.settings import Address, StackSettings, loopback_address

ARTIFACTS = ("nifi", "nifi-standard", "nifi-python")
_CONTROLLER = "framework/Controller.py"
_MANAGEMENT_PORT_AFTER = 3


def nifi_part(
    *,
    home: Path,
    cache: Path,
    store: Store,
    nifi: NifiSettings,
    settings: StackSettings,
    processes: Processes,
    extensions: Path,
    authority: Authority | None = None,
) -> Part:
    """Describe the NiFi at ``nifi.api_endpoint``; ``extensions`` holds its Python processors."""
    folder = home / "nifi"
    url = urlsplit(nifi.api_endpoint)
    scheme = "https" if authority else "http"
    if url.scheme not in ("http", "https") or url.path.rstrip("/") != "/nifi-api":
        raise UsageError(
            f"NIFI_API_ENDPOINT={nifi.api_endpoint}: `up` starts NiFi at an address like "
            f"{scheme}://127.0.0.1:28080/nifi-api; leave `up` out for a NiFi that runs elsewhere"
        )
    address = loopback_address(url.netloc, "NIFI_API_ENDPOINT")
    # NiFi's second listener, for its own health page; its default is one fixed port for every NiFi of a machine.
    port = settings.nifi_management_port or address.port + _MANAGEMENT_PORT_AFTER
    management = Address(address.host, port, "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT")

    def check() -> None:
        if url.scheme != scheme:
            secured = "is" if authority else "is not"
            raise UsageError(
                f"NIFI_API_ENDPOINT={nifi.api_endpoint}: the stack {secured} secured (`up --secured`): write {scheme}://"
                ", or leave `up` out for a NiFi that runs elsewhere"
            )

    def prepare() -> Program:
        program = nifi_program(cache, store)
        extensions.mkdir(parents=True, exist_ok=True)
        configuration = folder / "conf"
        render(
            "nifi.properties",
            configuration / "nifi.properties",
            nifi=address,
            sensitive_key=_sensitive_key(folder),
            program=program,
            # NiFi runs this Python without site packages: a virtual environment's own path would mislead it
            python=Path(sys.executable).resolve(),
            extensions=extensions.resolve(),
            tls=authority and authority.folder,
            password=authority and authority.password,
        )
        for name in ("logback.xml", "state-management.xml", "authorizers.xml", "login-identity-providers.xml"):
            render(f"nifi-{name}", configuration / name, tls=authority and authority.folder)
        tls = []
        if authority:
            tls = [f"-Djava.security.properties={render('java-tls.security', configuration / 'java-tls.security')}"]
        command = java_command(
            settings,
            settings.nifi_heap,
            f"-Dnifi.properties.file.path={configuration / 'nifi.properties'}",
            f"-Dorg.apache.nifi.management.server.address={management.host}:{management.port}",
            "-Djavax.security.auth.useSubjectCredsOnly=true",
            "--enable-native-access=ALL-UNNAMED",
            *tls,
            "-cp",
            os.pathsep.join((str(configuration), str(program / "lib" / "*"))),
        )
        return Program([*command, "org.apache.nifi.NiFi"], folder)

    def healthy() -> bool:
        return rest_client(nifi.tls).get(f"{nifi.api_endpoint}/flow/status").is_success

    def clear() -> None:
        # A killed NiFi leaves its Python processes behind, and they keep their MQTT client ids.
        for process in processes.leftovers(_CONTROLLER):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
                end(process, 5)

    certificates = (authority.folder / "nifi.pem",) if authority else ()
    return Part(
        "nifi", ARTIFACTS, (address, management), 800, prepare, healthy, clear, certificates=certificates, check=check
    )


def nifi_program(cache: Path, store: Store) -> Path:
    """Return the folder ``CACHE/nifi/DIGEST`` with ``lib`` and ``python``; made anew when the lock file changes.

    It appears whole or not at all.
    """
    artifacts = [artifact for artifact in read_lock() if artifact.part in ARTIFACTS]
    name = hashlib.sha256("\n".join(map(repr, artifacts)).encode()).hexdigest()[:16]
    program = cache / "nifi" / name
    if program.is_dir():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="half-") as half:
        whole = Path(half) / "program"
        (whole / "lib").mkdir(parents=True)
        for artifact in artifacts:
            if artifact.part == "nifi":
                (whole / "lib" / artifact.file).symlink_to(store.path(artifact).resolve())
        _pack_standard_nar(whole / "lib", artifacts, store)
        for artifact in artifacts:
            if artifact.part == "nifi-python":
                _unpack_python(store.path(artifact), whole / "python")
        whole.rename(program)
    return program


def _pack_standard_nar(library: Path, artifacts: list[Artifact], store: Store) -> None:
    """Pack the standard processors: a NAR is a zip with a manifest, which names the NAR that it inherits from."""
    version = next(artifact.version for artifact in artifacts if artifact.name == "nifi-standard-processors")
    manifest = {
        "Manifest-Version": "1.0",
        "Nar-Group": "org.apache.nifi",
        "Nar-Id": "nifi-standard-nar",
        "Nar-Version": version,
        "Nar-Dependency-Group": "org.apache.nifi",
        "Nar-Dependency-Id": "nifi-standard-shared-nar",
        "Nar-Dependency-Version": version,
    }
    with zipfile.ZipFile(library / f"nifi-standard-nar-{version}.nar", "w") as nar:
        for directory in ("META-INF/", "META-INF/bundled-dependencies/"):
            nar.writestr(directory, "")  # without these entries NiFi gives up on every NAR
        nar.writestr("META-INF/MANIFEST.MF", "".join(f"{key}: {value}\r\n" for key, value in manifest.items()) + "\r\n")
        for artifact in artifacts:
            if artifact.part == "nifi-standard":
                nar.write(store.path(artifact), f"META-INF/bundled-dependencies/{artifact.file}")


def _unpack_python(jar: Path, target: Path) -> None:
    """Unpack NiFi's Python side: ``framework``, and beside it ``api`` with the package ``nifiapi``."""
    with zipfile.ZipFile(jar) as content:
        names = [name for name in content.namelist() if name.startswith(("framework/", "nifiapi/"))]
        content.extractall(target, names)
    if (target / "nifiapi").is_dir():
        (target / "api").mkdir()
        shutil.move(target / "nifiapi", target / "api" / "nifiapi")


def _sensitive_key(folder: Path) -> str:
    """Return the key with which NiFi encrypts sensitive values in its flow: made once, kept beside the flow."""
    file = folder / "sensitive.key"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    return file.read_text(encoding="utf-8")
