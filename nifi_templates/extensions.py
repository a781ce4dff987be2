"""The folder that a NiFi on this machine loads its Python extensions from: processors and their packages."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import uv

from streamproof.core.errors import StreamproofError

PROCESSORS = Path(__file__).parent / "processors"
"""The processors' folder. The official image needs it alone, mounted at ``python_extensions/streamproof``."""

REQUIREMENTS = Path(__file__).with_name("processors.lock")
"""The packages that they import, with versions and checksums."""


def install_extensions(directory: Path) -> None:
    """Fill a folder with the processors and, under ``NAR-INF/bundled-dependencies``, the packages they import.

    Quick when nothing changed. NiFi must run the Python that this one is: the packages hold binaries for it.
    A NiFi that already runs sees a change after its next start.

    Raises:
        StreamproofError: the packages cannot be installed.
        OSError: the folder cannot be written.

    """
    stamp = directory / "NAR-INF" / "installed"
    wanted = hashlib.sha256(sys.version.encode() + REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        _install_packages(directory / "NAR-INF" / "bundled-dependencies")
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


def _install_packages(target: Path) -> None:
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-config"]
    command += ["--python", sys.executable, "--target", str(target), "--requirements", str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StreamproofError(f"the packages of the NiFi processors cannot be installed:\n{done.stderr.strip()}")
