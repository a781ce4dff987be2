# The two commands: `make demo` runs the main job, `make test` runs the tests; both set up what they need.
VENV := .venv
PYTHON ?= python3.11
STAMP := $(VENV)/.installed

.PHONY: demo test test-all drill docs setup check lock down

demo: setup
	$(VENV)/bin/streamproof demo

# Two processes at once where cores and memory allow it; what is marked as long is left to test-all.
test: setup check
	$(VENV)/bin/pytest -n auto --dist loadgroup -m "not long"

test-all: setup check
	$(VENV)/bin/pytest -n auto --dist loadgroup

# The long form of the drills, about two hours; its table goes into docs/drills.md.
drill: setup
	$(VENV)/bin/streamproof drill all --rounds 20 --output .streamproof/drills.md

# The page that is generated from the code: docs/commands.md.
docs: $(STAMP)
	$(VENV)/bin/python -m streamproof.reference

check: $(STAMP)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

setup: $(STAMP)
	$(VENV)/bin/streamproof setup

down: $(STAMP)
	$(VENV)/bin/streamproof down

$(STAMP): requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(VENV)/bin/uv pip sync --compile-bytecode --python $(VENV)/bin/python --require-hashes requirements.lock
	$(VENV)/bin/uv pip install --python $(VENV)/bin/python --quiet --no-deps --no-build-isolation --editable .
	touch $@

# uv, the installer, is itself installed from the lock, checksum and all.
$(VENV)/bin/uv:
	./create-venv $(PYTHON) $(VENV)
	grep -A 99 '^uv==' requirements.lock | sed '1!{/^[a-z]/,$$d}' > $(VENV)/uv.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.lock

lock: $(STAMP)
	$(VENV)/bin/uv pip compile --quiet --upgrade --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
