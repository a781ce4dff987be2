"""Maven artifacts: pinned, fetched once, and refused when they are not what the lock file names."""

import hashlib
import os
from pathlib import Path

import pytest

from streamproof.core.errors import StreamproofError
from streamproof.stack import artifacts
from streamproof.stack.artifacts import Artifact, Store, read_lock

CONTENT = b"the right jar"
ARTIFACT = Artifact("kafka", "org.example", "thing", "1.0", "jar", hashlib.sha256(CONTENT).hexdigest())


class Repository:
    """Stands for Maven: writes what it is told to, and counts how often it is asked."""

    def __init__(self, content: bytes):
        self.content = content
        self.asked = 0

    def __call__(self, *, repo_cache: Path, **_options):
        self.folder = repo_cache
        return self

    def project(self, *_names):
        return self

    def at_version(self, _version):
        return self

    def artifact(self, *, packaging):
        assert packaging == "jar"
        return self

    def resolve(self):
        self.asked += 1
        path = self.folder / ARTIFACT.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)


@pytest.fixture
def repository(monkeypatch):
    repository = Repository(CONTENT)
    monkeypatch.setattr("jgo.maven.MavenContext", repository)
    return repository


def test_a_wrong_checksum_is_an_error_and_the_file_is_deleted(tmp_path, repository):
    repository.content = b"something else"
    store = Store(tmp_path)
    with pytest.raises(StreamproofError, match=f"org.example:thing:1.0:jar is not what .* expected {ARTIFACT.sha256}"):
        store.fetch([ARTIFACT])
    assert not store.path(ARTIFACT).exists()


def test_what_is_there_and_right_is_not_fetched_again(tmp_path, repository):
    assert Store(tmp_path).fetch([ARTIFACT])[0].read_bytes() == CONTENT
    Store(tmp_path).fetch([ARTIFACT])
    assert repository.asked == 1


def test_a_second_run_hashes_nothing_that_has_not_changed(tmp_path, repository, monkeypatch):
    Store(tmp_path).fetch([ARTIFACT])
    monkeypatch.setattr(artifacts, "digest", lambda path: pytest.fail(f"{path} was hashed again"))
    Store(tmp_path).fetch([ARTIFACT])
    assert repository.asked == 1


@pytest.mark.parametrize("damaged", [CONTENT[:5], b"the wrongjar!"])
def test_a_file_that_was_cut_or_changed_is_fetched_again(tmp_path, repository, damaged):
    path = Store(tmp_path).fetch([ARTIFACT])[0]
    path.write_bytes(damaged)
    os.utime(path, ns=(1, 1))
    assert Store(tmp_path).fetch([ARTIFACT])[0].read_bytes() == CONTENT
    assert repository.asked == 2


def test_a_file_that_is_right_in_a_damaged_memory_is_checked_and_kept(tmp_path, repository):
    Store(tmp_path).fetch([ARTIFACT])
    (tmp_path / "maven-checked.json").write_text("{")
    Store(tmp_path).fetch([ARTIFACT])
    assert repository.asked == 1


def test_the_lock_file_pins_each_artifact_once_and_holds_no_address():
    locked = read_lock()
    assert {artifact.part for artifact in locked} == {"kafka", "nifi", "nifi-standard", "nifi-python", "flink"}
    for part in {artifact.part for artifact in locked}:
        files = [artifact.file for artifact in locked if artifact.part == part]
        assert len(files) == len(set(files))
    assert all(len(artifact.sha256) == 64 for artifact in locked)
    assert "://" not in artifacts.LOCK.read_text(encoding="utf-8")
