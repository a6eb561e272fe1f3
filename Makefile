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

.DEFAULT_GOAL := help
.PHONY: help run demo test trials mutants client fuzz check smoke audit bench faults format messages requirements release clean

help: ## List the targets
	@sed -En 's/^([a-z]+):.* ## (.+)$$/make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target sentence; do \
	printf '%-20s%s\n' "$$target" "$$sentence"; done

run: $(VENV)/run ## Prepare and start the portal at BIND=127.0.0.1:8000
	$(BIN)/python manage.py prepare
	exec $(BIN)/python manage.py up --bind $(BIND)

demo: $(VENV)/run ## Start a portal with machines, backups and services that live and fail
	exec $(BIN)/python -m demo --bind $(BIND)

test: $(VENV)/dev ## Run the tests on SQLite and PostgreSQL; ARGS="agents -k replay" goes to pytest
	$(BIN)/python -m tests.legs $(ARGS)

trials: $(VENV)/dev ## Install on fresh Debian systems by the documented commands; needs root and debootstrap
	$(BIN)/python -m tests.deploy.try_install
	$(BIN)/python -m tests.deploy.try_image

mutants: $(VENV)/dev ## Put known faults into copies of the code and list those that no test notices; ARGS="-n 2"
	$(BIN)/python -m tests.mutants $(ARGS)

client: $(VENV)/run ## Build the wheel of the client package into client/dist
	$(BIN)/python -m portal.connect.wheel client/dist

fuzz: $(VENV)/dev ## Run 10,000 generated cases for each reader of bodies and files
	HYPOTHESIS_PROFILE=fuzz VIGIE_DATA_DIR=$$(mktemp -d) $(BIN)/python -m pytest tests/fuzz tests/api/test_schema.py --hypothesis-show-statistics $(ARGS)

check: $(VENV)/dev ## Check style, types, migrations, deployment settings and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python -m tests.check $(ARGS)

smoke: ## Install, start and stop the portal in a fresh environment of PYTHON=python3
	$(or $(PYTHON),false) tests/smoke.py

audit: $(VENV)/dev ## Look up known vulnerabilities of the pinned packages
	$(BIN)/python -m tests.audit

bench: $(VENV)/dev ## Measure speed and memory; ARGS=--help lists the benchmarks
	$(BIN)/python -m bench $(ARGS)

faults: $(VENV)/dev ## Kill processes, cut off the database and fill the disk; ARGS=whole takes longer
	$(BIN)/python -m faults $(ARGS)

format: $(VENV)/dev ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements: $(VENV)/dev ## Upgrade the pinned packages within requirements.in and requirements-dev.in
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url -o requirements.txt requirements.in
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url -o requirements-dev.txt requirements-dev.in

messages: $(VENV)/dev ## Bring the French catalogue up to date
	$(BIN)/python -m portal.tests.catalogue

release: ## Check, build and tag a release: VERSION=1.2.3
	scripts/release "$(VERSION)"

clean: ## Delete the virtual environment and the caches
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
