# People and continuous integration use the same targets. `make up ARGS=--once` passes arguments on.
PYTHON := .venv/bin/python
export PYTHONDONTWRITEBYTECODE :=

.PHONY: up test check bench chaos clean setup

up: setup ## set up, start everything on this machine, show the table; Ctrl-C stops it
	@exec .venv/bin/horae up $(ARGS)

test: setup ## run the suite, a quarter of an hour on two cores; name each skipped test's missing server and how to install it
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov $(ARGS)

check: setup ## check formatting, lint, types and imports between modules
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo

bench: setup ## measure Horae and its peers on one Valkey, print a table; ARGS=--help lists the options
	@$(PYTHON) -m benchmarks $(ARGS)

chaos: setup ## run 20,000 jobs while killing, pausing and cutting off real processes, and report the result
	$(PYTHON) -m chaos $(ARGS)

clean: ## remove files that set-up and tools made; keep state and backups
	@scripts/clean

setup:
	@scripts/bootstrap
