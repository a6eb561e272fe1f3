# Vigie: `make demo` shows it, `make test` proves it.

SUPPORTED := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
# The newest supported Python that really runs: a version manager's stub may be on the PATH and not run.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
BIND ?= 127.0.0.1:8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

export DJANGO_SETTINGS_MODULE := portal.settings
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: run demo test fuzz check audit bench faults format messages requirements clean

run: $(VENV)/run
	$(BIN)/python manage.py prepare
	exec $(BIN)/python manage.py up --bind $(BIND)

demo: $(VENV)/run
	exec $(BIN)/python -m demo --bind $(BIND)

test: $(VENV)/dev
	$(BIN)/python -m tests.legs $(ARGS)

fuzz: $(VENV)/dev
	HYPOTHESIS_PROFILE=fuzz VIGIE_DATA_DIR=$$(mktemp -d) $(BIN)/python -m pytest tests/fuzz tests/test_schema.py --hypothesis-show-statistics $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python -m tests.check

audit: $(VENV)/dev
	$(BIN)/python -m tests.audit

bench: $(VENV)/dev
	$(BIN)/python -m bench $(ARGS)

faults: $(VENV)/dev
	$(BIN)/python -m faults $(ARGS)

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements: $(VENV)/dev
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url -o requirements.txt requirements.in
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url -o requirements-dev.txt requirements-dev.in

messages: $(VENV)/dev
	$(BIN)/python -m portal.tests.catalogue

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' || { echo "Vigie needs Python 3.11 to 3.14 with its venv module" \
	"(on Debian the package python3-venv). Name one: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(VENV)/bin/python requirements.txt client/pyproject.toml
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable client
	touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt
	$(PIP) install --require-hashes -r requirements-dev.txt
	touch $@
