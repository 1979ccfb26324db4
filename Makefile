# make install | demo | test | test-slow | lint        VENV=.venv, PYTHON=python3
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin

.PHONY: install demo test test-slow lint format

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
