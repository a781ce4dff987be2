"""Other programs open the tables with the lines that the documentation shows."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from checkout import CHECKOUT

from streamproof.core.settings import HomeSettings

pytestmark = pytest.mark.xdist_group("lake")

PAGE = (CHECKOUT / "docs" / "lake.md").read_text()
OPENING, *READING = re.findall(r"^```python\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROWS = 2000


@pytest.mark.long
def test_the_lines_of_the_page_read_every_row(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    read = []
    for lines in READING:
        library = re.search(r"^import (\w+)", lines, re.MULTILINE)[1]
        if find_spec(library) is None:
            continue
        script = (OPENING + lines).replace('"ratings.', f'"{lake.stream}.').replace("first", lake.id)
        script = script.replace("/.streamproof", str(HomeSettings().home))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert str(ROWS) in done.stdout, library
        read.append(library)
    assert {"duckdb", "pandas"} <= set(read)
