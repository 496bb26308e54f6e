# Two commands matter: `make lab` and `make test`. Both set up what they need.
SHELL := /bin/bash
VENV ?= .venv
LAB ?= 00
BIN := $(VENV)/bin
# A test that hangs fails after a quarter of an hour and shows where it stood; the others still run.
TIMED := --timeout=900 --durations=20 --durations-min=10
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider $(TIMED)
# Side by side, and which of them failed is kept: a busy machine is no fault of theirs.
BESIDE := $(BIN)/python -m pytest -o cache_dir=build/tests $(TIMED) -m "not slow and not alone"

.DEFAULT_GOAL := help
.PHONY: help lab test test-all setup setup-test unit engine notebooks matrix browser slow screenshots lint doctor clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

lab: setup  ## set up, then open JupyterLab on a lab (LAB=08)
	$(BIN)/labkit lab $(LAB)

test: setup-test  ## lint, then all tests: unit, engine, notebooks, browser
	$(MAKE) --no-print-directory lint unit engine notebooks browser

unit:  ## tests that need no engine
	$(PYTEST) -n logical --dist loadfile --no-loadscope-reorder tests/site/test_pages.py tests/unit

engine:  ## tests on live engines, side by side, what failed there once more alone; then those that must run alone
	$(BESIDE) --cache-clear -n auto --no-loadscope-reorder tests/engine \
	  || $(BESIDE) --last-failed --last-failed-no-failures none tests/engine
	$(PYTEST) -m "alone and not slow" tests/engine

notebooks:  ## re-execute every notebook and compare its outputs; a few where the engine is emulated
	labs=$$($(BIN)/python -m tests.emulated) && $(BIN)/labkit run $${labs:---all}

matrix: setup-test  ## every notebook on every engine that can be had here; the table goes to docs/matrix.md
	$(BIN)/labkit run --all --matrix --table docs/matrix.md

browser:  ## the labs in JupyterLab, in Chromium
	$(PYTEST) tests/browser

test-all: setup-test  ## as test, but all tests also where the engine is emulated, and the slow ones: hours
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m "" tests
	$(BIN)/labkit run --all

slow: setup-test  ## tests that take many minutes: the arm64 machine, emulated
	$(PYTEST) -m slow tests

screenshots: setup-test  ## the pictures of README.md and docs/, made anew
	$(BIN)/python tools/screenshots

site: setup-site  ## the course as a site to read, in build/site/html; nothing is executed
	$(BIN)/python tools/site

site-check: setup-test  ## the site's links and figures, and how it looks in Chromium, axe-core included
	$(PYTEST) tests/site

doctor: setup  ## check every precondition
	$(BIN)/labkit doctor

lint: setup-test  ## ruff: all Python, notebooks too; mypy: labkit's types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy labkit

clean: setup  ## remove what labs left on the engine
	$(BIN)/labkit clean

setup:
	@VENV=$(VENV) tools/setup lab

setup-site:
	@VENV=$(VENV) tools/setup site

setup-test:
	@VENV=$(VENV) tools/setup test
