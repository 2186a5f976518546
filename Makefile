# worldcurate: `make help` lists the targets. Each target installs what it needs first.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
SEED ?= 0
# The folder of `make demo`, which is emptied at each run.
DEMO ?= build/demo
# The folder of `make proof`, which continues where it was stopped.
PROOF ?= build/proof
# small or full.
SCALE ?= small
# The folders of `make dist`.
DIST ?= dist
PACKED ?= build/packed
# The folder of `make chaos`, which is emptied at each run; how many seeds of kills, and how many nights for each.
CHAOS ?= build/chaos
SEEDS ?= 1
NIGHTS ?= 10
# The release of PyTorch that the tests run with. Any release in the range of pyproject.toml works.
TORCH ?= torch==2.13.0

export PYTHONHASHSEED := 0

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/ready models ## Make a small web, curate two nights of it and train on the result (SEED=7 makes another)
	$(BIN)/python -m demo.run --out $(DEMO) --seed $(SEED)

.PHONY: proof
proof: $(VENV)/ready models ## Measure on real pictures what balancing by language does (SCALE=full: days on 2 cores; docs/proof.md)
	$(BIN)/python -m proof.run --out $(PROOF) --scale $(SCALE)

.PHONY: chaos
chaos: $(VENV)/ready models ## Run ten nights on a cluster whose processes are killed and disks are full (SEED, SEEDS, NIGHTS)
	rm -rf $(CHAOS) && $(BIN)/python -m chaos.run --out $(CHAOS) --seed $(SEED) --seeds $(SEEDS) --nights $(NIGHTS)

.PHONY: test
test: $(VENV)/ready models ## Run the tests (about 15 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(VENV)/ready models ## Run the slow tests, which take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/ready ## Check style and formatting (ruff), types (mypy), import order (import-linter) and spelling (codespell)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

.PHONY: audit
audit: $(VENV)/ready ## Compare the installed packages with known vulnerabilities (needs the network)
	$(PYTHON) -m venv build/audit && build/audit/bin/pip install -q 'pip-audit>=2.9,<3'
	build/audit/bin/pip-audit --strict --skip-editable --path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

.PHONY: bench
bench: $(VENV)/ready models ## Run every benchmark, print its tables and compare them with benchmarks/floors.yaml
	@status=0; for script in benchmarks/bench_*.py; do \
	  echo "== $$script"; PYTHONPATH=. $(BIN)/python $$script $(BENCH_ARGS) || status=1; \
	done; exit $$status

.PHONY: docs
docs: $(VENV)/ready ## Build the documentation site in build/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

.PHONY: models
models: $(VENV)/ready ## Fetch the default language-ID model into the cache unless it is there, and check its SHA-256
	@$(BIN)/python -m curation.models >/dev/null

.PHONY: dist
dist: $(VENV)/ready ## Build the wheel and a packed environment with it, for machines without this package, in dist
	rm -rf $(DIST) $(PACKED) && $(BIN)/python -m pip -q wheel --no-deps --wheel-dir $(DIST) .
	$(PYTHON) -m venv $(PACKED)
	CFLAGS=-march=x86-64-v2 CXXFLAGS=-march=x86-64-v2 $(PACKED)/bin/pip install -q \
	  "$$(ls $(DIST)/*.whl)[segment]" "venv-pack>=0.2,<0.3" "setuptools<81"
	$(PACKED)/bin/venv-pack -q -p $(PACKED) -o $(DIST)/worldcurate-env.tar.gz --compress-level 1
	@ls -1 $(DIST)

.PHONY: clean
clean: ## Remove the virtual environment and all build outputs
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: hooks
hooks: $(VENV)/ready ## Install the checks that git runs before each commit
	$(BIN)/pre-commit install

# Prints one line per missing program before anything is installed.
.PHONY: check-tools
check-tools: ## Check that Python, Java and a compiler are installed
	@missing=0; need() { echo "missing: $$1" >&2; missing=1; }; \
	command -v git >/dev/null || need "git (Debian: apt-get install git)"; \
	command -v g++ >/dev/null || command -v c++ >/dev/null || need "a C++ compiler (Debian: apt-get install g++)"; \
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  need "Python 3.11 or newer (Debian: apt-get install python3.11; or make PYTHON=/path/to/python3)"; \
	else \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || need "Python's venv (Debian: apt-get install python3-venv)"; \
	  $(PYTHON) -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
	    || need "Python headers (Debian: apt-get install python3-dev)"; \
	fi; \
	java="$${JAVA_HOME:+$$JAVA_HOME/bin/}java"; \
	version=$$("$$java" -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1); \
	[ "$${version:-0}" -ge 17 ] || need "Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless; or set JAVA_HOME)"; \
	exit $$missing

$(VENV)/ready: pyproject.toml | check-tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q "$(TORCH)"
	$(BIN)/python -m pip install -q --editable '.[train,segment,api,bench,docs,dev,proof]'
	@touch $@
