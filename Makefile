# Vigie: `make demo` shows it, `make test` proves it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIND ?= 127.0.0.1:8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

export DJANGO_SETTINGS_MODULE := portal.settings
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: run demo test check bench format messages requirements clean

run: $(VENV)/run
	$(BIN)/python manage.py prepare
	exec $(BIN)/python manage.py up --bind $(BIND)

demo: $(VENV)/run
	exec $(BIN)/python -m demo --bind $(BIND)

test: $(VENV)/dev
	$(BIN)/python -m tests.legs $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python -m tests.check

bench: $(VENV)/dev
	$(BIN)/python -m bench $(ARGS)

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
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Vigie needs Python 3.11: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(VENV)/bin/python requirements.txt client/pyproject.toml
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable client
	touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.txt
	$(PIP) install --require-hashes -r requirements-dev.txt
	touch $@
