"""The Maven artifacts: which ones (``artifacts.lock``), fetched once, each checked by its SHA-256."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.whole_file import write_whole

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("artifacts.lock")
_AT_ONCE = 6


class Artifact(NamedTuple):
    """One file of a Maven repository, and the part of the stack that it belongs to."""

    part: str
    group: str
    name: str
    version: str
    packaging: str
    sha256: str

    @property
    def path(self) -> str:
        """Its place within a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file}"

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.name}-{self.version}.{self.packaging}"

    def __str__(self) -> str:
        return f"{self.group}:{self.name}:{self.version}:{self.packaging}"


def read_lock(lock: Path = LOCK) -> list[Artifact]:
    """Return the artifacts that the lock file names: lines ``part group:name:version:packaging sha256``."""
    artifacts = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            part, coordinate, sha256 = line.split()
            group, name, version, packaging = coordinate.split(":")
            artifacts.append(Artifact(part, group, name, version, packaging, sha256))
    return artifacts


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The fetched artifacts, in ``CACHE/maven``, laid out as a Maven repository.

    What was checked once is remembered with its size and time of change, so that a second run hashes nothing.
    """

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "maven"
        self._memory = cache / "maven-checked.json"
        self._checked: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._checked = json.loads(self._memory.read_text(encoding="utf-8"))

    def path(self, artifact: Artifact) -> Path:
        """Return where the artifact lies."""
        return self.folder / artifact.path

    def fetch(self, artifacts: Iterable[Artifact]) -> list[Path]:
        """Return the artifacts' files, in the given order; the missing ones are downloaded, with a progress bar.

        Raises:
            StreamproofError: an artifact cannot be had, or is not the one that the lock file names.

        """
        wanted = list(artifacts)
        missing = [artifact for artifact in wanted if not self._is_there(artifact)]
        if missing:
            self._download(missing)
        if missing or not self._memory.exists():
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._memory, json.dumps(self._checked))
        return [self.path(artifact) for artifact in wanted]

    def _is_there(self, artifact: Artifact) -> bool:
        path = self.path(artifact)
        if not path.is_file():
            return False
        if self._checked.get(artifact.path) == self._fingerprint(artifact):
            return True
        if digest(path) == artifact.sha256:
            self._checked[artifact.path] = self._fingerprint(artifact)
            return True
        path.unlink()  # half a download, or a file that somebody changed
        return False

    def _fingerprint(self, artifact: Artifact) -> list[object]:
        stat = self.path(artifact).stat()
        return [stat.st_size, stat.st_mtime_ns, artifact.sha256]

    def _download(self, missing: list[Artifact]) -> None:
        from jgo.maven import MavenContext, PythonResolver

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console) as progress:
            whole = progress.add_task(f"fetching {len(missing)} Maven artifacts", total=0)
            sizes = {whole: 0}

            @contextlib.contextmanager
            def count(_file: str, size: int) -> Iterator[Callable[[int], None]]:
                sizes[whole] += size
                progress.update(whole, total=sizes[whole])
                yield lambda received: progress.advance(whole, received)

            context = MavenContext(repo_cache=self.folder, resolver=PythonResolver(progress_callback=count), timeout=60)
            pool = ThreadPoolExecutor(_AT_ONCE)
            try:
                list(pool.map(lambda artifact: self._download_one(context, artifact), missing))
            finally:
                pool.shutdown(cancel_futures=True)

    def _download_one(self, context: "MavenContext", artifact: Artifact) -> None:
        from requests import RequestException

        path = self.path(artifact)

        @retry(
            retry=retry_if_exception_type(RequestException),
            stop=stop_after_attempt(4),
            wait=wait_exponential(1, max=10),
            reraise=True,
        )
        def download() -> None:
            path.unlink(missing_ok=True)
            component = context.project(artifact.group, artifact.name).at_version(artifact.version)
            component.artifact(packaging=artifact.packaging).resolve()

        try:
            download()
        except (RequestException, RuntimeError, OSError) as error:
            path.unlink(missing_ok=True)
            raise StreamproofError(
                f"{artifact} cannot be fetched: {error}\nIs this machine connected? Set-up goes on where it stopped."
            ) from error
        if (found := digest(path)) != artifact.sha256:
            path.unlink()
            raise StreamproofError(
                f"{artifact} is not what {LOCK.name} names: its SHA-256 is {found}, expected {artifact.sha256}. "
                "It was deleted; try again, and if that does not help, do not use what this network sends"
            )
        self._checked[artifact.path] = self._fingerprint(artifact)
