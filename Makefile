# Every target installs what it needs into .venv; only Python >= 3.11 and make must be there.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip
STAMP := .venv/.installed
# Even where the environment forbids it: a process that compiles all it imports takes twice as long to start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo up down test test-fast lint typecheck format lock bench chaos clean help

help:  ## say what each target does
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## create .venv from the locks

$(STAMP): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(f"Penstock needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Name another: make PYTHON=python3.12 install" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: install  ## publish real messages through the whole pipeline and show what came of them
	$(BIN)/penstock demo

up: install  ## start the embedded Kafka, warehouse and model server
	$(BIN)/penstock up

down: install  ## stop them
	$(BIN)/penstock down

test: lint typecheck  ## style, types, import contracts, all tests
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: install  ## the tests that need no embedded stack
	$(BIN)/pytest -m "not stack"

lint: install  ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: install  ## mypy --strict
	$(BIN)/mypy

format: install  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install  ## compile requirements/*.txt anew from pyproject.toml
	$(UV) compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml -o requirements/base.txt
	$(UV) compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml --extra local -o requirements/local.txt
	$(UV) compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml --extra local --extra dev -o requirements/dev.txt
	grep -A1000 '^uv==' requirements/dev.txt | awk 'NR==1 || /^    /{print; next} {exit}' > requirements/bootstrap.txt

bench: install  ## measure beside the bare loop
	$(BIN)/python benchmarks/pipeline.py
	PYTHONPATH=benchmarks $(BIN)/python -m calling

chaos: install  ## break everything while 20,000 jobs run, and account for each (SEED=1 TOGETHER=)
	PYTHONPATH=benchmarks $(BIN)/python -m chaos --seed $(or $(SEED),1) --together "$(TOGETHER)"

clean:  ## remove what the targets made, the data of the embedded stack included
	test ! -x $(BIN)/penstock || $(BIN)/penstock down
	rm -rf .venv .penstock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
