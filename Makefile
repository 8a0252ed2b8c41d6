# Everything runs in .venv. Every target needs it, the first one makes it, none makes it again
# until the lock or the project file changes.

.DEFAULT_GOAL := help
.NOTPARALLEL:
# The tests start hundreds of processes, none of which should have to compile the code again.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo test check lint types imports contracts generate format lock bench

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST_ARGS ?=
# Many tests wait for processes and disks, so that as many workers as cores leave these idle.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) \* 3 / 2)
LOCK_ARGS ?=

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(INSTALLED) ## Make .venv from the locked requirements; the other targets do it when needed

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo 'Python 3.11 is needed; point to it with make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'setting up $(VENV); this takes a minute, once'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-index --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED) ## Start the platform on free ports, run an agent and show what happened
	$(BIN)/agent-executor demo

test: $(INSTALLED) ## Run every test
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal $(PYTEST_ARGS)

check: PYTEST_ARGS += --cov
check: lint types imports contracts test ## Run what CI runs; the tests come last, with coverage

lint: $(INSTALLED) ## Check format and lint of the code and the contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/buf format --diff --exit-code protos

types: $(INSTALLED) ## Check types
	$(BIN)/mypy

imports: $(INSTALLED) ## Check which module may import which
	$(BIN)/lint-imports --no-cache --no-logo

contracts: $(INSTALLED) ## Check that generated files are up to date, and the contracts keep their rules
	$(BIN)/python -m protos.generate --check
	$(BIN)/python -m protos.lint

generate: $(INSTALLED) ## Write everything that is generated: from protos/, deploy/.env.example, and the dashboards
	$(BIN)/python -m protos.generate
	$(BIN)/python -m deploy.environment_example
	$(BIN)/python -m deploy.grafana.generate

format: $(INSTALLED) ## Format the code and the contracts, and repair lint where that is safe
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write protos

# Keeps every pinned version that still fits; `make lock LOCK_ARGS=--upgrade` takes the newest.
# Extras stay: pip takes `name[extra]` for a name of its own, and refuses it if only `name` is pinned
# and the index has a newer version.
lock: ## Write requirements.lock from pyproject.toml
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT \
	  && $(PYTHON) -m venv "$$folder" \
	  && "$$folder/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9 \
	  && "$$folder/bin/uv" pip compile pyproject.toml --group dev --generate-hashes \
	    --no-emit-index-url --no-strip-extras --python-version 3.11 --custom-compile-command 'make lock' \
	    --output-file requirements.lock --quiet $(LOCK_ARGS)

bench: $(INSTALLED) ## Measure: every benchmark of tests/bench, one after the other
	@for file in tests/bench/bench_*.py; do \
	  echo "== $$file" && $(BIN)/python -m tests.bench.$$(basename $$file .py) || exit 1; done
