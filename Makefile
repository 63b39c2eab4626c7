# Everything a person types. `make demo` and `make test` need nothing but Python 3.11.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Dagster keeps its runs here; the embedded server and all other files live beside it.
export DAGSTER_HOME ?= $(CURDIR)/.warehouse/dagster

.PHONY: demo test dev lint format bench mutants docs stop clean

demo: $(VENV)/installed
	$(BIN)/warehouse demo

test: $(VENV)/installed
	$(BIN)/python -m pytest

dev: $(VENV)/installed
	mkdir -p $(DAGSTER_HOME)
	cp orchestration/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/warehouse init
	$(BIN)/dagster dev

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --processes 2 dbt_project/models dbt_project/functions dbt_project/tests

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed
	$(BIN)/python -m tests.bench

mutants: $(VENV)/installed
	$(BIN)/python -m tests.mutants

docs: $(VENV)/installed
	$(BIN)/warehouse plan > docs/events.md
	$(BIN)/warehouse docs

stop: $(VENV)/installed
	$(BIN)/warehouse stop

clean:
	-test ! -x $(BIN)/warehouse || $(BIN)/warehouse stop
	rm -rf .warehouse $(VENV)

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
