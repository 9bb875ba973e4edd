# make demo    the bookstore, live, on http://localhost:8000/
# make test    every test
# make lint    style and types
# make clean   remove what the above made (the demo's data too)
#
# Each does its own set-up in .venv, once; all they need beforehand is Python 3.11 or newer.

PYTHON ?= python3
ADDRESS ?= localhost:8000
PYTEST_ARGS ?=

BIN := .venv/bin
NODE_MODULES := $(if $(shell command -v npm),tests/interop/node_modules/.installed)

.PHONY: help demo test lint clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

demo: .venv/.installed-demo
	@$(BIN)/python bookstore_example/demo.py $(ADDRESS)

test: .venv/.installed-test $(NODE_MODULES)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/.installed-test .venv/.installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv .demo build dist *.egg-info tests/interop/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One stamp per extra, so that each is installed again when setup.cfg changes.
.venv/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing dddp[$*] into .venv ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON). Install Python 3.11 or newer, or name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "dddp needs Python 3.11 or newer, $(PYTHON) is older. Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) lacks its venv or ensurepip module. Install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

tests/interop/node_modules/.installed: tests/interop/package-lock.json
	npm ci --prefix tests/interop --no-audit --no-fund --loglevel=error
	@touch $@
