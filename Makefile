# make demo and make test set everything up by themselves; nothing but make and Python >= 3.11 is needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEVICES ?= 2000
OUT ?= demo-output
# The tests start hundreds of processes, each of which would compile the code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test faults check bench bench-full lock ci clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with the command carrier-opt in it

$(STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml
	@PYTHON="$(PYTHON)" ./setup.sh $(VENV)
	@touch $@

demo: setup ## Run the main job end to end: make demo DEVICES=100000 OUT=folder
	@$(BIN)/carrier-opt demo --devices $(DEVICES) --out $(OUT)

test: setup ## Run the tests, a process per core; files with servers of their own first
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

faults: setup ## Run the full matrices of faults, of which make test has a sample
	@$(BIN)/pytest -m full --numprocesses auto --maxprocesses 4 --dist worksteal

check: setup ## Lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## Measure; results go to benchmarks/results
	@$(BIN)/python -m benchmarks.run

bench-full: setup ## Measure with the cases that take long; a rerun continues
	@$(BIN)/python -m benchmarks.run --full --resume

lock: setup ## Renew requirements/*.txt from pyproject.toml
	@echo 'uv>=0.9' | $(BIN)/uv pip compile --quiet --generate-hashes --universal --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 - -o requirements/uv.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 --override requirements/overrides.txt pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 --override requirements/overrides.txt pyproject.toml --group dev -o requirements/dev.txt

ci: check test ## What every change must pass

clean: ## Remove the environment and what runs leave behind
	rm -rf $(VENV) demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
