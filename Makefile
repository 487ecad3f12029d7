# From a fresh clone to a running demo with nothing but git, make and Python 3.11 or newer.
# Each target sets up what it needs; a second call finds it ready.

.DEFAULT_GOAL := help
# One virtualenv serves every target, so two of them must never fill it at once.
.NOTPARALLEL:
.PHONY: help demo test test-slow test-all check bench constraints clean

# Name another interpreter with `make PYTHON=/path/to/python3 …`.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
# Test processes at a time; the quick suite is made for a machine with two cores.
WORKERS ?= 2
# More words for the command: `make demo ARGS="--items PATH"`, `make test ARGS="-k ledger"`.
ARGS ?=

# pytest's exit code 5: ARGS chose none of these tests.
NONE_IS_FINE := [ $$? -eq 5 ]

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help: ## Show this list
	@echo "s2mirror: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.ready-demo ## Watch a mirror at work: no network, no account, under a minute
	@$(BIN)/s2mirror demo $(ARGS)

test: $(VENV)/.ready-dev ## Run the quick tests (under three minutes)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not long and not servers" $(ARGS)

test-slow: $(VENV)/.ready-dev ## Run only the long tests and those against real servers (root, Debian)
	@$(BIN)/python -m pytest -n $(WORKERS) -m "long and not servers" $(ARGS) || $(NONE_IS_FINE)
	@S2MIRROR_REQUIRE_SERVERS=1 $(BIN)/python -m pytest -m servers $(ARGS) || $(NONE_IS_FINE)

test-all: test test-slow ## Run every test: test, then test-slow

check: $(VENV)/.ready-dev ## Check format, lint and types, then run the quick tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

bench: $(VENV)/.ready-bench ## Measure speed against other clients
	@$(BIN)/python benchmarks/run.py $(ARGS)

constraints: $(VENV)/.ready-dev ## Write constraints.txt anew from the newest versions that fit
	@rm -rf build/constraints
	@$(BIN)/python -m venv build/constraints
	@build/constraints/bin/python -m pip --disable-pip-version-check --quiet install --editable '.[bench,dev]'
	@sed -n '/^#/p' constraints.txt > build/constraints.txt
	@build/constraints/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f >> build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/constraints

clean: ## Remove what the other targets made: virtualenv, caches, the demo's archive
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs a third of what developers need, so a first look does not wait for the rest.
$(VENV)/.ready-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing s2mirror and its sandbox into $(VENV) (needs the network, once) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[sandbox]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready-demo
	@echo "Installing the developers' tools into $(VENV) (needs the network, once) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-dev
	@echo "Installing the clients to measure beside into $(VENV) (needs the network, once) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

# Each candidate is run, not just looked up: a version manager's stand-in may exist and refuse.
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
