"""Files, and the manifest of the run that replayed them, for tests that compute from these two alone."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from streamproof.core.contract import load_contract
from streamproof.core.run import RowCounts, Run, Source

RATINGS = load_contract("ratings")


def manifest(files: dict[str, Path], sent: dict[str, int], **pace) -> Run:
    return Run.model_validate(
        {
            "run": "r",
            "contract": pace.pop("contract", RATINGS),
            "clock": "virtual",
            "pace": "interval",
            "batch_rows": 1,
            "batch_ms": 1,
            "sources": {c: Source(file=f, sha256=sha256(f.read_bytes()).hexdigest(), size=0) for c, f in files.items()},
            "rows": {c: RowCounts(sent=n) for c, n in sent.items()},
            "created": datetime.now(UTC),
        }
        | pace
    )


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
