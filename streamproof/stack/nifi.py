"""NiFi: one node or two, its program put together once in the cache, configuration and data in ``HOME/nifi``."""

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

import httpx
import psutil

from streamproof.core.errors import UsageError
from streamproof.core.settings import NifiSettings, TlsSettings
from streamproof.stack.artifacts import Artifact, Store, read_lock
from streamproof.stack.authority import Authority
from streamproof.stack.configuration import render
from streamproof.stack.java import java_command
from streamproof.stack.part import Part
from streamproof.stack.process import Processes, Program, end
from streamproof.stack.rest import rest_client
from streamproof.stack.servers_file import keep_servers, part_names, refuse_other_number
from streamproof.stack.settings import Address, StackSettings, loopback_address
from streamproof.stack.zookeeper import zookeeper_address

ARTIFACTS = ("nifi", "nifi-standard", "nifi-python")
_CONTROLLER = "framework/Controller.py"
_MANAGEMENT_PORT_AFTER = 3

NODES = (1, 2)
"""How many nodes there may be."""

_SETTING = "NIFI_API_ENDPOINT"
_STEP = 10
"""From one node's port to the next one's."""


def node_names(nifi: NifiSettings) -> tuple[str, ...]:
    """Return the parts that are NiFi's nodes: ``nifi``, or ``nifi-1`` and ``nifi-2``."""
    return part_names("nifi", len(nifi.endpoints))


def nifi_parts(
    *,
    home: Path,
    cache: Path,
    store: Store,
    nifi: NifiSettings,
    settings: StackSettings,
    processes: Processes,
    extensions: Path,
    authority: Authority | None = None,
) -> list[Part]:
    """Describe the nodes at ``nifi.api_endpoint``; ``extensions`` holds their Python processors.

    Raises:
        UsageError: an address is not on loopback, or there are more than two.

    """
    names = node_names(nifi)
    if len(names) not in NODES:
        raise UsageError(f"{_SETTING}={nifi.api_endpoint}: `up` starts one NiFi or two")
    if authority and len(names) > 1:
        raise UsageError("a secured NiFi has one node: leave out --secured or --nifi-nodes 2")
    return [
        _node(
            place,
            home=home,
            cache=cache,
            store=store,
            nifi=nifi,
            settings=settings,
            processes=processes,
            extensions=extensions,
            authority=authority,
        )
        for place, _ in enumerate(names)
    ]


def keep_nodes(home: Path, count: int) -> None:
    """Have the home's NiFi consist of so many nodes, for every command from now on.

    Raises:
        UsageError: it began with another number, or the settings name another.

    """
    if count not in NODES:
        raise UsageError(f"--nifi-nodes {count}: `up` starts one NiFi or two")
    _refuse_other_number(home, count)
    if len(NifiSettings().endpoints) != count:
        first = _address_of(NifiSettings().endpoints[0])
        nodes = [f"http://{first.host}:{first.port + _STEP * place}/nifi-api" for place in range(count)]
        keep_servers(home, _SETTING, nodes, lambda: NifiSettings().endpoints, f"--nifi-nodes {count}")


def _refuse_other_number(home: Path, count: int) -> None:
    """Refuse to start a NiFi with more or fewer nodes than it began with: what is queued in one stays there."""
    lost = "all flows with it, and `deploy` them anew"
    refuse_other_number(home / "nifi" / "conf", count, ("one node", "two nodes"), f"the NiFi of {home}", lost)


def _address_of(endpoint: str, scheme: str = "http") -> Address:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or url.path.rstrip("/") != "/nifi-api":
        raise UsageError(
            f"{_SETTING}={endpoint}: `up` starts NiFi at an address like {scheme}://127.0.0.1:28080/nifi-api; leave "
            "`up` out for a NiFi that runs elsewhere"
        )
    return loopback_address(url.netloc, _SETTING)


def _node(
    place: int,
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
    names, whole = node_names(nifi), home / "nifi"
    name, is_one_of_several = names[place], len(names) > 1
    folder = whole / name if is_one_of_several else whole
    scheme = "https" if authority else "http"
    address = _address_of(nifi.endpoints[place], scheme)
    # NiFi's second listener, for its own health page; its default is one fixed port for every NiFi of a machine.
    port = (settings.nifi_management_port or _address_of(nifi.endpoints[0]).port + _MANAGEMENT_PORT_AFTER) + (
        _STEP * place
    )
    management = Address(address.host, port, "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT")
    talking = [
        Address(address.host, settings.nifi_cluster_port + 2 * place + other, "STREAMPROOF_STACK_NIFI_CLUSTER_PORT")
        for other in range(2 if is_one_of_several else 0)
    ]

    zookeeper = zookeeper_address(settings)

    def check() -> None:
        if urlsplit(nifi.endpoints[place]).scheme != scheme:
            secured = "is" if authority else "is not"
            raise UsageError(
                f"{_SETTING}={nifi.api_endpoint}: the stack {secured} secured (`up --secured`): write {scheme}://"
                ", or leave `up` out for a NiFi that runs elsewhere"
            )

    def prepare() -> Program:
        _refuse_other_number(home, len(names))
        program = nifi_program(cache, store)
        extensions.mkdir(parents=True, exist_ok=True)
        configuration = folder / "conf"
        render(
            "nifi.properties",
            configuration / "nifi.properties",
            nifi=address,
            talking=talking,
            nodes=len(names),
            zookeeper=zookeeper,
            sensitive_key=_sensitive_key(whole),
            program=program,
            # NiFi runs this Python without site packages: a virtual environment's own path would mislead it
            python=Path(sys.executable).resolve(),
            extensions=extensions.resolve(),
            tls=authority and authority.folder,
            password=authority and authority.password,
        )
        for file in ("logback.xml", "state-management.xml", "authorizers.xml", "login-identity-providers.xml"):
            render(
                f"nifi-{file}",
                configuration / file,
                is_cluster=is_one_of_several,
                zookeeper=zookeeper,
                tls=authority and authority.folder,
            )
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
        if not is_one_of_several:
            return rest_client(nifi.tls).get(f"{nifi.api_endpoint}/flow/status").is_success
        # While another one still takes it for connecting, that one refuses each change of the flow.
        views = [_state_of(address, endpoint, nifi.tls) for endpoint in nifi.endpoints]
        return views[place] == "CONNECTED" and "CONNECTING" not in views

    def clear() -> None:
        # A killed NiFi leaves its Python processes behind, and they keep their MQTT client ids.
        others = {process.pid for other in names if (process := processes.find(other))}
        for process in processes.leftovers(_CONTROLLER):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.ppid() in others:
                    continue
                process.terminate()
                end(process, 5)

    certificates = (authority.folder / "nifi.pem",) if authority else ()
    addresses = (address, management, *talking)
    return Part(name, ARTIFACTS, addresses, 800, prepare, healthy, clear, certificates=certificates, check=check)


def _state_of(node: Address, endpoint: str, tls: TlsSettings) -> str:
    """Return a node's state in the cluster, as the node at an endpoint knows it; nothing where that one is away."""
    with contextlib.suppress(httpx.HTTPError):
        answer = rest_client(tls).get(f"{endpoint}/controller/cluster").raise_for_status()
        return next((each["status"] for each in answer.json()["cluster"]["nodes"] if each["apiPort"] == node.port), "")
    return ""


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
