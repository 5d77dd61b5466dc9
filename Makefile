# The only commands a newcomer needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# One stamp for each set of packages, made anew when its lock file changes.
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install run demo test check bench lock browser

help:  ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## set up .venv with every pinned package, and nothing else

$(STAMP): requirements/dev.txt requirements/torch.txt requirements/install-torch
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the pinned packages into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@requirements/install-torch $(BIN)/python
	@touch $@

run: install  ## set up and run the site in the foreground; Ctrl-C stops all of it
	@exec $(BIN)/python -m webapp.runner

demo: install  ## set up, run the main job once, leave the site running (EXIT=1: stop at the end)
	@exec $(BIN)/python -m webapp.demo $(if $(EXIT),--exit)

test: install browser  ## set up and pass the tests (SLOW=1: also the slow ones, as before every landing)
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal $(if $(SLOW),,-m "not slow") $(ARGS)

check: install  ## linters, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: install  ## print the tables of the README
	@for name in $$($(BIN)/python -m benchmarks); do $(BIN)/python -m benchmarks.$$name || exit 1; done

lock:  ## compile the lock files anew from pyproject.toml
	@compile() { $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	    --group $$1 --output-file requirements/$$1.txt $$2 pyproject.toml; }; \
	compile web && compile cuda --constraints=requirements/web.txt && compile train && compile dev

browser:
	@tests/browser/install
