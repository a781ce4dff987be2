"""Mosquitto: found on this machine or installed from the package manager; its data in ``HOME/mosquitto``."""

import getpass
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from streamproof.core.command import console
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.mqtt import connected, new_client
from streamproof.core.settings import MqttSettings
from streamproof.stack.authority import Authority
from streamproof.stack.configuration import render
from streamproof.stack.part import Part
from streamproof.stack.process import Program
from streamproof.stack.settings import Address, StackSettings, loopback_address

_OUTSIDE_PATH = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


def mosquitto_part(
    home: Path, cache: Path, mqtt: MqttSettings, settings: StackSettings, authority: Authority | None = None
) -> Part:
    """Describe the broker at ``mqtt.host:mqtt.port``; with an authority it has a second listener, for edges."""
    folder = home / "mosquitto"
    address = loopback_address(f"{mqtt.host}:{mqtt.port}", "STREAMPROOF_MQTT_PORT")
    edges = Address(address.host, settings.mosquitto_edge_port, "STREAMPROOF_STACK_MOSQUITTO_EDGE_PORT")
    acl = folder / "acl"

    def give_rights() -> None:
        render("mosquitto.acl", acl, edges=authority.edges() if authority else ())

    def prepare() -> Program:
        give_rights()
        configuration = render(
            "mosquitto.conf",
            folder / "mosquitto.conf",
            mqtt=address,
            user=getpass.getuser(),  # started as root it would otherwise become a user who cannot write here
            data=folder / "data",
            autosave=settings.mosquitto_autosave,
            tls=authority and authority.folder,
            edges=edges,
            acl=acl,
        )
        (folder / "data").mkdir(exist_ok=True)
        program = find_mosquitto(cache)
        if program is None:
            raise StreamproofError("Mosquitto is not installed: run `streamproof setup`")
        environment = {}
        if program.is_relative_to(_unpacked(cache)):
            libraries = [str(folder) for folder in _unpacked(cache).glob("usr/lib/*") if folder.is_dir()]
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
        return Program([str(program), "-c", str(configuration)], folder, environment)

    part = Part("mosquitto", (), (address,), 10, prepare, lambda: _accepts_connections(mqtt))
    if authority is None:
        return part
    certificates = (authority.folder / "mosquitto.pem",)
    return replace(part, addresses=(address, edges), reread=give_rights, certificates=certificates)


def find_mosquitto(cache: Path) -> Path | None:
    """Return the broker's program, of this machine or unpacked in the cache; None where there is none."""
    places = (os.environ.get("PATH", os.defpath), *_OUTSIDE_PATH, str(_unpacked(cache) / "usr" / "sbin"))
    found = shutil.which("mosquitto", path=os.pathsep.join(places))
    return Path(found).absolute() if found else None


def install_mosquitto(cache: Path) -> None:
    """Install the broker where there is none: as root with apt, else its packages are unpacked into the cache.

    Raises:
        UsageError: this system has no apt; the text has the command to type.
        StreamproofError: apt cannot install or fetch it.

    """
    if find_mosquitto(cache):
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise UsageError(
            "Mosquitto is not installed. Type `brew install mosquitto` (macOS), `sudo dnf install mosquitto` (Fedora), "
            "`sudo pacman -S mosquitto` (Arch) or what your system has for it, then try again"
        )
    if os.geteuid() == 0:
        console.print("installing Mosquitto with apt")
        _run("apt-get", "update")  # lists may be missing, or name versions that are gone
        _run("apt-get", "install", "-y", "--no-install-recommends", "mosquitto")
    else:
        console.print("fetching Mosquitto with apt into the project's own cache")
        _unpack(cache)
    if not find_mosquitto(cache):
        raise StreamproofError("Mosquitto was installed, but no program `mosquitto` is to be found")


def _unpack(cache: Path) -> None:
    """Fetch Mosquitto's packages, and of what they need those that this machine lacks, without being root."""
    own = cache.resolve() / "apt"
    (own / "state" / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (own / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    private = (
        *("-o", f"Dir::State={own / 'state'}"),
        *("-o", f"Dir::Cache={own / 'cache'}"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status"),
        *("-o", "Debug::NoLocking=true"),
    )
    _run("apt-get", *private, "update")
    _run("apt-get", *private, "install", "-y", "--no-install-recommends", "--download-only", "mosquitto")
    half = _unpacked(cache).with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    for package in sorted((own / "cache" / "archives").glob("*.deb")):
        _run("dpkg", "-x", str(package), str(half))
    half.rename(_unpacked(cache))
    shutil.rmtree(own)


def _unpacked(cache: Path) -> Path:
    return cache.resolve() / "mosquitto"


def _run(*command: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StreamproofError(
            f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-1000:]}\n"
            "Install Mosquitto by hand, then try again"
        )


def _accepts_connections(mqtt: MqttSettings) -> bool:
    with connected(new_client(mqtt, f"streamproof-health-{uuid4().hex}"), mqtt, seconds=3):
        return True
