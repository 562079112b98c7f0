# `make` lists what can be made. Every target first makes or refreshes .venv when pyproject.toml or constraints.txt is newer.

PYTHON  ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13 python3.14,$(shell \
             $(name) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
RUN     := .venv/bin/python
INSTALL := $(RUN) -m pip install --constraint constraints.txt
CODE    := $(wildcard nlc tests generated benchmarks experiments scripts docs)

# Whatever /tmp is (full, read-only, noexec), temporary files go beside the code; a stray PYTHONPATH does not leak in.
export TMPDIR := $(CURDIR)/.venv/tmp
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

.PHONY: help setup demo test test-slow check style types built bench experiments docs update clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready ## make .venv with nlc and its tools

demo: setup ## compile and verify every spec, train a small model on real text, leave a report
	$(RUN) scripts/demo.py

test: setup ## run the tests, without the slow ones
	$(RUN) -m pytest -n 2 -q -m "not slow"

test-slow: setup ## run the slow tests
	$(RUN) -m pytest -n 2 -q -m slow

check: setup ## style, types, and that generated/ is what the specs compile to
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types built style

style: setup
	$(RUN) -m ruff check $(CODE)
	$(RUN) -m ruff format --check $(CODE)

types: setup
	$(RUN) -m mypy --strict $(wildcard nlc generated)

built: setup
	$(RUN) -m nlc build --check specs

bench: setup ## measure speed, memory and compile time
	$(RUN) -m benchmarks.run

experiments: setup ## run the experiments again and rewrite docs/experiments/
	$(RUN) -m experiments.landscape --write
	$(RUN) -m experiments.staleness --write
	$(RUN) -m experiments.digits --write
	$(RUN) -m experiments.recall --write
	$(RUN) -m experiments.continual --write

docs: .venv/.ready-docs ## the manual as HTML, in docs/_build
	$(RUN) -m sphinx -W -q -b html docs docs/_build
	@echo "docs/_build/index.html"

update: setup ## rewrite what is generated and committed: generated/, expected messages, docs pages; then read the diff
	$(RUN) -m nlc build specs
	UPDATE=1 $(RUN) -m pytest -q tests/test_bad.py -k test_message
	$(RUN) docs/generate.py

clean: ## remove what the other targets made, except .venv
	rm -rf demo docs/_build build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .venv/tmp/*
	find nlc tests docs benchmarks experiments scripts generated -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "nlc needs Python 3.11 or newer with its venv module (Debian: apt install python3-venv)"; exit 1; }
	@mkdir -p .venv/tmp
	$(PYTHON) -m venv .venv
	$(INSTALL) --quiet torch==2.13.0 hatchling editables
	$(INSTALL) --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

.venv/.ready-docs: .venv/.ready
	$(INSTALL) --quiet --no-build-isolation --editable '.[docs]'
	@touch $@
