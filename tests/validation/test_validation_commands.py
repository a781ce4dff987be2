"""The commands: what they print, what they leave, and their exit codes."""

import json
import os
import subprocess
import sys

from streamproof.core.run import RowCounts


def test_the_command_prints_one_json_document_and_leaves_a_report(pipeline):
    pipeline.run.rows["<i>&"] = RowCounts()
    pipeline.run.sources["<i>&"] = pipeline.run.sources["Books"]
    pipeline.run.limit = 250
    pipeline.write()
    done = pipeline.command("validate", "--json", "--wait", "0")
    printed = json.loads(done.stdout)
    assert done.exit_code == 1
    assert printed["windows"]["right"] == len(pipeline.windows)
    folder = pipeline.home.runs / pipeline.run.run
    assert json.loads((folder / "validation.json").read_text()) == printed
    page = (folder / "validation.html").read_text()
    assert "NOT PROVEN" in page
    assert "&lt;i&gt;&amp;" in page
    assert "<i>" not in page


def test_the_exit_code_is_0_only_when_proven(pipeline):
    settings = {"STREAMPROOF_HOME": str(pipeline.home.home), "STREAMPROOF_KAFKA_SERVERS": pipeline.kafka.servers}

    def validate():
        command = [sys.executable, "-m", "validation", "validate", pipeline.run.run]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | settings)

    pipeline.write()
    done = validate()
    assert done.returncode == 0, done.stderr
    assert "PROVEN" in done.stdout
    pipeline.windows = pipeline.windows[:1]
    pipeline.write_windows()
    done = validate()
    assert done.returncode == 1
    assert "NOT PROVEN" in done.stdout
    assert "doubled: Books" in done.stdout
