# Two commands do all the set-up: `make fold` folds examples/, `make test` runs the tests. Needs Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A machine without an NVIDIA driver takes the CPU build of torch where the package index offers one.
TORCH ?= $(if $(shell command -v nvidia-smi),torch,torch==2.13.0)
JOBS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help fold test test-kill lint notebook report-check report-picture parity bench-cpu bench-autochunk bench-parallel kernels-report gpu-report gpu-report-dry clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "foldcli needs Python 3.11 or newer: make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "$(TORCH)"
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

fold: $(VENV)/installed  ## fold examples/ with the model that comes with the package
	$(BIN)/foldcli fold examples/proteins.fasta --msa examples/msa --out results

test: $(VENV)/installed-dev  ## run the tests, in two processes: make JOBS=8 test on a larger machine
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-kill: $(VENV)/installed-dev  ## kill folds at ten file operations each, and let them go on
	FOLDCLI_KILLS=10 $(BIN)/python -m pytest tests/cli/test_lost_work.py

fuzz: $(VENV)/installed-dev  ## 500 generated inputs, most of them wrong, to every command: none may end in a traceback
	FOLDCLI_FUZZ=500 $(BIN)/python -m pytest tests/fuzz

NOTEBOOK := import nbclient, nbformat; page = nbformat.read("examples/fold.ipynb", 4); \
	nbclient.NotebookClient(page, record_timing=False, resources={"metadata": {"path": "examples"}}).execute(); \
	nbformat.write(page, "examples/fold.ipynb")
notebook: $(VENV)/installed  ## run examples/fold.ipynb and keep what it prints and draws
	$(PIP) --editable '.[notebook]'
	$(BIN)/python -c '$(NOTEBOOK)'

lint: $(VENV)/installed-dev  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

CHROMIUM ?= $(firstword $(shell command -v chromium chromium-browser google-chrome))
report-check: $(VENV)/installed-dev  ## open the report's pages in a real Chromium: CHROMIUM=/path/to/chromium
	$(PIP) playwright
	FOLDCLI_CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest tests/report/test_browser.py

report-picture: fold  ## take the README's picture of a report, of what `make fold` makes
	$(PIP) playwright
	FOLDCLI_CHROMIUM="$(CHROMIUM)" $(BIN)/python -m tests.report.picture results/1UBQ examples/report.png

parity: $(VENV)/installed-dev  ## compare with DeepMind's model at full depth, fresh seeds (about 20 minutes)
	$(BIN)/foldcli bench peers --prepare
	$(BIN)/python -m tests.parity

# Results of different processors lie side by side: amd-epyc, intel-r-xeon-r-...
PROCESSOR = $(shell sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1 | tr -cs 'A-Za-z0-9\n' - | tr A-Z a-z)
bench-cpu: $(VENV)/installed  ## one pass on the CPU, in turns with DeepMind's model
	$(BIN)/foldcli bench peers --prepare
	$(BIN)/foldcli bench peers --seq-len 96 --msa-depth 128 --extra-depth 256 --peers jax --rounds 3 \
	  --json benchmarks/results/peers-96-$(PROCESSOR).json
	$(BIN)/foldcli bench peers --seq-len 191 --peers jax --rounds 3 \
	  --json benchmarks/results/peers-191-$(PROCESSOR).json

bench-parallel: $(VENV)/installed  ## one block over 2 and 4 CPU ranks: efficiency, memory, and as root a slow link
	$(BIN)/python benchmarks/parallel.py

bench-autochunk: $(VENV)/installed-dev  ## memory against time of the trunk by plans of AutoChunk, on the CPU
	$(BIN)/python benchmarks/autochunk.py trunk

kernels-report: $(VENV)/installed  ## compile every kernel for sm_80 and sm_90 with no GPU; fail on spills and the like
	$(BIN)/python benchmarks/kernels_report.py

# Takes what the machine has: for the kernels torch and triton are enough, foldcli need not be installed.
GPU_REPORT = $(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu_report.py
gpu-report:  ## on a CUDA GPU: test, tune and time kernels, folds and training for 9 minutes; again: what is left of it
	$(GPU_REPORT)

gpu-report-dry: $(VENV)/installed-dev  ## every part of gpu-report at tiny sizes on the CPU, as a test of the report
	$(GPU_REPORT) --dry-run

clean:  ## remove the environments and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
