# Everything goes through these targets, continuous integration too. `make up ARGS=--once` passes arguments on.
PYTHON := .venv/bin/python
export PYTHONDONTWRITEBYTECODE :=

.PHONY: up test check bench chaos clean setup

up: setup ## set up, start everything on this machine, show the table; Ctrl-C stops it
	@exec .venv/bin/horae up $(ARGS)

test: setup ## run the suite, a quarter of an hour on two cores; names what it skips and how to get it
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov $(ARGS)

check: setup ## formatting, lint, types, and the arrows between modules
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo

bench: setup ## measure Horae and its peers on one Valkey, print a table; ARGS=--help says what can be chosen
	@$(PYTHON) -m benchmarks $(ARGS)

chaos: setup ## kill, pause and cut real processes under 20,000 jobs, and report what that did
	$(PYTHON) -m chaos $(ARGS)

clean: ## remove what set-up and the tools made; state and backups stay
	@scripts/clean

setup:
	@scripts/bootstrap
