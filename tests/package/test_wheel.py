"""The package: built, installed in an environment of its own, used from a folder that has nothing of the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkout import CHECKOUT
from free_ports import free_ports

from streamproof.core.settings import HomeSettings

pytestmark = pytest.mark.xdist_group("package")  # they share what is installed

PACKAGES = {"edge_replayer", "nifi_templates", "flink_jobs", "validation", "streamproof"}
FOREIGN = ("STREAMPROOF_", "NIFI_", "PYTHON", "VIRTUAL_ENV")
UV = Path(sys.executable).with_name("uv")


def run(*command, folder, **settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment | settings, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=CHECKOUT)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory):
    """Install the wheel with what it says it needs, in the versions of the lock, and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    python = folder / "bin" / "python"
    for command in (
        [UV, "venv", "--python", sys.executable, folder],
        [UV, "pip", "install", "--python", python, "--constraints", CHECKOUT / "requirements.lock", wheel],
    ):
        done = run(*command, folder=folder.parent)
        assert done.returncode == 0, done.stderr
    return folder / "bin"


def files_of(bin_folder):
    (packages,) = bin_folder.parent.glob("lib/python*/site-packages")
    return {path for path in packages.rglob("*") if "__pycache__" not in path.parts}


def test_the_wheel_claims_five_names_and_holds_every_file_of_theirs_and_the_streams(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert {path.parts[0] for path in held} == PACKAGES
    tracked = run(
        "git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES, "streams", folder=CHECKOUT
    ).stdout.splitlines()
    assert {"streams/ratings/rating_averages.sql", "nifi_templates/processors.lock"} < set(tracked)
    assert held == {Path("streamproof", name) if name.startswith("streams/") else Path(name) for name in tracked}


def test_what_is_installed_lists_its_commands_and_replays(bin_folder, tmp_path):
    before = files_of(bin_folder)
    done = run(bin_folder / "streamproof", "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "  replay " in done.stdout
    (tmp_path / "a.csv").write_text("u1,0000143502,5.0,7200\nu2,B,x,1\n")
    done = run(bin_folder / "streamproof", "replay", "ratings", "A=a.csv", "--to", "stdout", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [m["product_id"] for m in map(json.loads, done.stdout.splitlines()) if m["seq"] > 0] == ["0000143502"]
    assert files_of(bin_folder) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


def test_what_is_installed_computes_the_batch_truth_in_the_current_folder(bin_folder, tmp_path):
    before = files_of(bin_folder)
    code = (
        "from streamproof.bench.side_by_side.runner import batch\n"
        "import json; print(json.dumps(batch('batch_duckdb', 1000).parts))"
    )
    done = run(bin_folder / "python", "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["windows equal to the batch"] > 1000
    assert found["windows not equal to the batch"] == 0
    assert files_of(bin_folder) == before
    assert [path.name for path in tmp_path.iterdir()] == [".streamproof"]


@pytest.fixture
def own_addresses(tmp_path_factory):
    """Free ports, and the downloads of the tests without the folder that links to this environment's own files."""
    cache = tmp_path_factory.mktemp("cache")
    for part in HomeSettings().cache.glob("*"):
        if part.name != "flink":
            (cache / part.name).symlink_to(part)
    mqtt, kafka, controller, nifi, management, flink, rpc = free_ports(7)
    return {
        "STREAMPROOF_CACHE": str(cache),
        "STREAMPROOF_STACK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
        "STREAMPROOF_MQTT_PORT": str(mqtt),
        "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{kafka}",
        "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": str(controller),
        "NIFI_API_ENDPOINT": f"http://127.0.0.1:{nifi}/nifi-api",
        "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT": str(management),
        "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{flink}",
        "STREAMPROOF_STACK_FLINK_RPC_PORT": str(rpc),
    }


@pytest.mark.long
def test_what_is_installed_proves_the_demo_from_an_empty_folder(bin_folder, tmp_path, own_addresses):
    before = files_of(bin_folder)
    try:
        done = run(bin_folder / "streamproof", "demo", folder=tmp_path, **own_addresses)
        assert done.returncode == 0, done.stderr[-5000:]
        assert done.stdout.splitlines()[-1] == "PROVEN"
        # Fitting, sent, in Kafka and read by Flink, for both categories; NiFi may have received copies as well.
        assert done.stdout.count("20,000") >= 2 * 4
        assert f"{bin_folder / 'streamproof'} down" in done.stderr
    finally:
        stopped = run(bin_folder / "streamproof", "down", folder=tmp_path, **own_addresses)
    assert stopped.returncode == 0, stopped.stderr
    assert files_of(bin_folder) == before
    assert [path.name for path in tmp_path.iterdir()] == [".streamproof"]
