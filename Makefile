# A fresh clone needs only git, make and Python 3.11 or newer to run the demo.
# Each target installs what it needs on its first call.

.DEFAULT_GOAL := help
# All targets share one virtualenv, so two targets must not install into it at the same time.
.NOTPARALLEL:
.PHONY: help demo test test-slow test-all check bench constraints clean

# To use another interpreter: `make PYTHON=/path/to/python3 …`.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
# Parallel test processes. The quick suite is designed for a machine with two cores.
WORKERS ?= 2
# Further arguments of the command: `make demo ARGS="--items PATH"`, `make test ARGS="-k ledger"`.
ARGS ?=

# pytest's exit code 5: ARGS selected none of these tests.
NONE_IS_FINE := [ $$? -eq 5 ]

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help: ## Show this list
	@echo "s2mirror: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.ready-demo ## Run a mirror for demonstration: no network, no account, under a minute
	@$(BIN)/s2mirror demo $(ARGS)

test: $(VENV)/.ready-dev ## Run the quick tests (3 minutes on two cores)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not long and not servers" $(ARGS)

test-slow: $(VENV)/.ready-dev ## Run only the long tests and the tests against real servers (root, Debian)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "long and not servers" $(ARGS) || $(NONE_IS_FINE)
	@S2MIRROR_REQUIRE_SERVERS=1 $(BIN)/python -m pytest -m servers $(ARGS) || $(NONE_IS_FINE)

test-all: test test-slow ## Run all tests: test, then test-slow

check: $(VENV)/.ready-dev ## Check format, lint and types, then run the quick tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

bench: $(VENV)/.ready-bench ## Measure the speed of the mirror and other clients
	@$(BIN)/python benchmarks/run.py $(ARGS)

constraints: $(VENV)/.ready-dev ## Rewrite constraints.txt with the newest compatible versions
	@rm -rf build/constraints
	@$(BIN)/python -m venv build/constraints
	@build/constraints/bin/python -m pip --disable-pip-version-check --quiet install --editable '.[bench,dev]'
	@sed -n '/^#/p' constraints.txt > build/constraints.txt
	@build/constraints/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f >> build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/constraints

clean: ## Delete the output of the other targets: virtualenv, caches, the demo's archive
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs a third of the developers' packages, so its first call does not install the rest.
$(VENV)/.ready-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing s2mirror and its sandbox into $(VENV) (needs the network, once) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[sandbox]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready-demo
	@echo "Installing the developers' tools into $(VENV) (needs the network, once) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-dev
	@echo "Installing the other clients to measure into $(VENV) (needs the network, once) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

# Each candidate is run, not only looked up: a version manager's shim can exist and fail.
$(BIN)/python:
	@bare=; for candidate in $(CANDIDATES); do \
	    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    "$$candidate" -c 'import ensurepip, venv' 2>/dev/null || { bare=$$candidate; continue; }; \
	    echo "Making $(VENV) with $$candidate ..."; \
	    rm -rf $(VENV); "$$candidate" -m venv $(VENV); exit; \
	done; \
	[ -z "$$bare" ] || { echo "s2mirror: $$bare cannot make a virtualenv;" \
	    "on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	echo "s2mirror: no Python 3.11 or newer among: $(CANDIDATES). Install one," \
	    "or name it: make PYTHON=/path/to/python3" >&2; exit 1
