# The two commands: `make demo` runs the main job, `make test` runs the tests; both set up what they need.
VENV := .venv
PYTHON ?= python3.11
STAMP := $(VENV)/.installed

.PHONY: demo test test-all test-setup drill docs setup check lock down

demo: setup
	$(VENV)/bin/streamproof demo

# Three processes at once where cores and memory allow it; what is marked as long is left to test-all.
test: test-setup check
	$(VENV)/bin/pytest -n auto --dist loadgroup --no-loadscope-reorder -m "not long"

test-all: test-setup check
	STREAMPROOF_HUNT=4 $(VENV)/bin/pytest -n auto --dist loadgroup --no-loadscope-reorder

test-setup: setup
	@./set-up browser $(VENV)
	@./set-up checker $(VENV)

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
	@$(VENV)/bin/streamproof setup

down: $(STAMP)
	$(VENV)/bin/streamproof down

$(STAMP): requirements.lock pyproject.toml
	@./set-up environment $(VENV) $(PYTHON)
	@touch $@

lock: $(STAMP)
	$(VENV)/bin/uv pip compile --quiet --upgrade --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	$(VENV)/bin/uv pip compile --quiet --no-deps --group processors --constraints requirements.lock --python-version 3.11 \
	  --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" \
	  --output-file nifi_templates/processors.lock
