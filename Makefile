# make demo | install | test | test-slow | test-onedl | lint | docs
#   STACK=openmmlab   whose toolboxes: OpenMMLab's, or onedl, their continuation
#   VENV=.venv        the environment, .venv-onedl for the other stack
#   PYTHON=python3    from 3.10 to 3.12, for a new environment
#   JOBS=2            processes that share the tests, of one thread each; 0 is none
#   ARGS='-k parse'   options of pytest, or of the demo
STACK ?= openmmlab
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
PYTHON ?= python3
BIN = $(VENV)/bin
# Some tests are sooner done than a second process has started.
JOBS ?= $(if $(ARGS),0,2)
# A process that dies fails its test. If it were replaced, pytest-xdist might wait for
# ever for tests that it gives to nobody (3.8, --dist loadfile).
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --max-worker-restart 0

.PHONY: install demo test test-slow test-onedl lint format docs docs-serve

install:
	@PYTHON="$(PYTHON)" STACK="$(STACK)" tools/install.sh "$(abspath $(VENV))"

demo:
	@PYTHON="$(PYTHON)" STACK="$(STACK)" tools/install.sh --demo "$(abspath $(VENV))"
	@$(BIN)/python -W ignore -m ean_mm demo $(ARGS)

test: install
	$(PYTEST) --dist loadfile -m "not slow" $(ARGS)

test-slow: install
	$(PYTEST) --dist worksteal -m slow $(ARGS)

test-onedl:
	@$(MAKE) test STACK=onedl

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
