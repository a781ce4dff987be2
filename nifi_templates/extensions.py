"""The folder that a NiFi on this machine loads its Python extensions from: processors and their packages."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import uv

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import CHECKOUT

PROCESSORS = Path(__file__).parent / "processors"
"""The processors' folder. The official image needs it alone, mounted at ``python_extensions/streamproof``."""

PACKAGES = ("confluent-kafka", "msgspec", "paho-mqtt")


def install_extensions(directory: Path) -> None:
    """Fill a folder with the processors and, under ``NAR-INF/bundled-dependencies``, the packages they import.

    Quick when nothing changed. NiFi must run the Python that this one is: the packages hold binaries for it.
    A NiFi that already runs sees a change after its next start.

    Raises:
        StreamproofError: the packages cannot be installed.
        OSError: the folder cannot be written.

    """
    requirements = locked_requirements((CHECKOUT / "requirements.lock").read_text(encoding="utf-8"))
    stamp = directory / "NAR-INF" / "installed"
    wanted = hashlib.sha256(f"{sys.version}\n{requirements}".encode()).hexdigest()
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        _install_packages(requirements, directory / "NAR-INF" / "bundled-dependencies")
        stamp.write_text(wanted, encoding="utf-8")
    target = directory / "streamproof"
    target.mkdir(parents=True, exist_ok=True)
    sources = {path.name: path.read_bytes() for path in PROCESSORS.glob("*.py")}
    for old in target.glob("*.py"):
        if old.name not in sources:
            old.unlink()
    for name, content in sources.items():
        if not (target / name).is_file() or (target / name).read_bytes() != content:
            (target / name).write_bytes(content)


def locked_requirements(lock: str) -> str:
    """Return the processors' packages from the text of ``requirements.lock``, versions and checksums.

    Raises:
        StreamproofError: a package is not locked.

    """
    blocks = []
    for package in PACKAGES:
        block = re.search(rf"^{package}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
        if block is None:
            raise StreamproofError(f"requirements.lock: {package} is missing; `make lock` writes the file anew")
        blocks.append(block[0])
    return "".join(blocks)


def _install_packages(requirements: str, target: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(requirements)
        file.flush()
        command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-config"]
        command += ["--python", sys.executable, "--target", str(target), "--requirements", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StreamproofError(f"the packages of the NiFi processors cannot be installed:\n{done.stderr.strip()}")
