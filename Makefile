# `make demo` and `make test` set up what they need; see README.
SHELL := /bin/bash
PYTHON := $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
LAKE ?= lake/demo
SUITE := --editable '.[local,dev]'
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# uv needs a third of pip's time and reads none of its settings; where it cannot, pip does it.
INDEX = $${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || echo https://pypi.org/simple)}

.PHONY: demo test venv check format bench wheel clean prerequisites

demo: $(INSTALLED)  ## Simulate a trial, run the whole chain on it, write the report
	@$(BIN)/clinical-lakehouse --root $(LAKE) demo

test: $(INSTALLED)  ## Tests; `make test SOAK=share` or `SOAK=all` with slow ones too
	$(BIN)/python -m pytest --numprocesses=$(or $(WORKERS),2) --dist=loadfile --no-loadscope-reorder --soak=$(or $(SOAK),none)

venv: $(INSTALLED)  ## The environment in .venv

$(INSTALLED): setup.py constraints.txt | prerequisites
	@test -d .venv || $(or $(PYTHON),python3) -m venv .venv
	@echo "installing into .venv (about a minute the first time)"
	@$(INSTALL) uv
	@UV_DEFAULT_INDEX=$(INDEX) $(BIN)/uv pip install --quiet --python $(BIN)/python \
		--constraint constraints.txt $(SUITE) || $(INSTALL) $(SUITE)
	@touch $@

prerequisites:
	@$(or $(PYTHON),python3) src/clinical_lakehouse/runtime/prerequisites.py

check: $(INSTALLED)  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## Put the code into shape
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## Speed and memory of the spine, see benchmarks/README.md
	$(BIN)/python benchmarks/spine.py

wheel: $(INSTALLED)  ## dist/*.whl
	@rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## Everything that can be made again
	rm -rf .venv build dist lake .mypy_cache .ruff_cache .pytest_cache src/*.egg-info
