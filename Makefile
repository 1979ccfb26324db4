# make install | demo | test | test-slow | test-onedl | lint
#   STACK=openmmlab   whose toolboxes: OpenMMLab's, or onedl, their continuation
#   VENV=.venv        the environment, .venv-onedl for the other stack
#   PYTHON=python3    from 3.10 to 3.12, for a new environment
STACK ?= openmmlab
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
PYTHON ?= python3
BIN = $(VENV)/bin

.PHONY: install demo test test-slow test-onedl lint format

install:
	@PYTHON="$(PYTHON)" STACK="$(STACK)" tools/install.sh "$(abspath $(VENV))"

demo: install
	@$(BIN)/python -W ignore tools/demo.py $(ARGS)

test: install
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: install
	$(BIN)/python -m pytest -m slow $(ARGS)

test-onedl:
	@$(MAKE) test STACK=onedl

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
