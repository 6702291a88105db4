# The commands a person needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help venv lint typecheck spank clean

help:  ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 22

venv: $(VENV)/.ready  ## The virtual environment with everything for development

$(VENV)/.ready: setup.py csrc/pages/*.py csrc/pages/*.c csrc/pages/*.h
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e .[dev]
	@touch $@

lint: venv  ## ruff over everything
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

typecheck: venv  ## mypy --strict over every room
	$(BIN)/mypy

spank:  ## The SPANK plugin against the installed Slurm headers
	$(MAKE) -C csrc/spank

clean:  ## Everything that was built here
	rm -rf build dist *.egg-info $(VENV)
