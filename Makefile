# The commands a person needs; `make help` lists them. `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: help demo test setup venv lint typecheck ctest pytest native-test host-test lab-test guest-test virtual-test spank \
  bench-submit bench-selection bench-selection-live bench-scale bench-containers bench-memory fuzz bench-sizing bench-tiering bench-hotness bench-pages figures soak deb rpm clean

help:  ## What can be made; benchmarks leave their figures in build/bench/NAME.json
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 22

demo: setup venv  ## A virtual node with three memory tiers runs five jobs: plan beside reality
	lab/lab demo

test: setup venv lint spank  ## Every check and every test (about 20 minutes)
	@$(MAKE) --no-print-directory -j2 host-test virtual-test

setup:  ## The Debian packages that the lab and the tests need
	@lab/setup

venv: $(VENV)/.ready  ## The virtual environment with everything for development

$(VENV)/.ready: setup.py $(wildcard csrc/pages/* csrc/libtierwise/* csrc/exec/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e .[dev]
	@touch $@

lint: venv  ## ruff over everything
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .

typecheck: venv  ## mypy --strict over every room
	$(BIN)/mypy library/tierwise policy/tierwise_policy decision/tierwise_decision \
	  nodeagent/tierwise_node cli/tierwise_cli sim/tierwise_sim lab/tierwise_lab slurm_plugin/tierwise_slurm slurm_plugin/tell_agent.py slurm_plugin/tell_service.py bench/*.py bench/sizing bench/tiering bench/soak

ctest:  ## The C rooms' own tests, with the address and undefined-behaviour sanitizers
	$(MAKE) -C csrc/pages test
	$(MAKE) -C csrc/libtierwise test
	$(MAKE) -C csrc/spank test
	$(MAKE) -C csrc/exec test
	$(MAKE) -C csrc/tierclock test

# Real daemons on shared machines: a test may have a second try. The one that needed it is listed, and is to be mended.
AGAIN := --reruns 1 -rfER

pytest: venv spank  ## Every test that needs neither a Slurm nor a virtual node
	$(BIN)/pytest $(AGAIN) tests --ignore tests/native --ignore tests/lab --ignore tests/guest

native-test: venv spank  ## Every test on a Slurm on this machine
	$(BIN)/pytest $(AGAIN) tests/native

host-test:  ## typecheck, ctest, pytest, then native-test
	@$(MAKE) --no-print-directory typecheck ctest
	@$(MAKE) --no-print-directory pytest
	@$(MAKE) --no-print-directory native-test

lab-test: venv spank  ## The lab's own tests, with virtual nodes
	$(BIN)/pytest $(AGAIN) tests/lab

guest-test: venv spank  ## Every test that needs memory tiers, inside a virtual node
	lab/lab test --timeout 1800 tests/guest $(AGAIN)

virtual-test:  ## lab-test, then guest-test
	@$(MAKE) --no-print-directory lab-test 2>&1 | sed -u 's/^/virtual| /'
	@$(MAKE) --no-print-directory guest-test 2>&1 | sed -u 's/^/virtual| /'

spank:  ## The SPANK plugin against the installed Slurm headers
	@$(MAKE) -s -C csrc/spank

bench-submit: setup venv spank  ## What Tierwise costs a submission (2 minutes)
	PYTHONPATH=lab $(BIN)/python bench/submit.py

TRACES ?= $(sort $(wildcard ../shared/data/nfcore/trace_*.csv.gz))
bench-sizing: venv  ## Estimates of memory on TRACES="FILE …", and published methods' (5 minutes)
	PYTHONPATH=bench OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m sizing $(TRACES)

RUNS ?= 5
bench-tiering: setup venv  ## Programs on memory tiers, under a memory clock: docs/tiering.md (hours)
	PYTHONPATH=bench:lab $(BIN)/python -m tiering validate
	PYTHONPATH=bench:lab $(BIN)/python -m tiering measure --runs $(RUNS)
	PYTHONPATH=bench:lab $(BIN)/python -m tiering report --docs docs

bench-selection: setup venv  ## Our choice of nodes beside random and least-loaded, simulated (2 minutes)
	PYTHONPATH=sim $(BIN)/python bench/selection.py

bench-selection-live: setup venv spank  ## The same on three virtual nodes, one of them loaded (10 minutes)
	PYTHONPATH=lab $(BIN)/python bench/selection_live.py

bench-scale: setup venv spank  ## 10,000 simulated agents on a real service and PostgreSQL (8 minutes)
	PYTHONPATH=lab $(BIN)/python bench/scale.py

bench-hotness: setup venv  ## What is hot, found and followed, beside kernel and DAMON (10 minutes)
	PYTHONPATH=lab $(BIN)/python bench/hotness.py

bench-pages: setup venv  ## What moving and tracking cost (10 minutes, 12 GiB of memory)
	PYTHONPATH=lab $(BIN)/python bench/pages.py

bench-containers: setup venv  ## Starts of a container image, staged and plain (8 minutes)
	PYTHONPATH=lab $(BIN)/python bench/containers.py

bench-memory: setup venv spank  ## Where the user library's memory lands, and what allocating costs (3 minutes)
	PYTHONPATH=lab $(BIN)/python bench/memory.py

figures: venv  ## docs/figures.md, from what the benchmarks found when they last ran
	PYTHONPATH=bench $(BIN)/python bench/page.py

FUZZ_SECONDS ?= 600
fuzz: setup venv  ## A fuzzer over the agent's socket, and the C that reads answers (10 minutes)
	lab/setup fuzz/packages.txt
	$(BIN)/pip install -q --disable-pip-version-check 'atheris>=3.0,<4'
	PYTHONPATH=tests/nodeagent $(BIN)/python fuzz/run.py $(FUZZ_SECONDS)

soak: setup venv spank  ## Jobs start and die, the agent is killed: what is left? (40 minutes)
	PYTHONPATH=bench:lab $(BIN)/python -m soak --minutes 30
	PYTHONPATH=bench:lab $(BIN)/python -m soak --minutes 10 --guest

deb: setup venv  ## The Debian package, in build/deb
	PATH="$(CURDIR)/$(BIN):$$PATH" packaging/deb

rpm: setup venv  ## The rpm, in build/rpm
	PATH="$(CURDIR)/$(BIN):$$PATH" packaging/rpm

clean:  ## Everything that was built here
	rm -rf build dist *.egg-info $(VENV)
