# make install | demo | test | test-slow | lint | docs        VENV=.venv, PYTHON=python3
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin

.PHONY: install demo test test-slow lint format docs docs-serve

install:
	@PYTHON="$(PYTHON)" tools/install.sh "$(abspath $(VENV))"

demo: install
	@$(BIN)/python -W ignore tools/demo.py $(ARGS)

test: install
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: install
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An environment of their own, without PyTorch: the sources are read, not imported.
.venv-docs/installed: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet -r requirements/docs.txt
	touch $@

# The variable silences an advertisement.
docs: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

docs-serve: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs serve
