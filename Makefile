# People and continuous integration use the same targets. `make up ARGS=--once` passes arguments on.
PYTHON := .venv/bin/python
export PYTHONDONTWRITEBYTECODE :=

.PHONY: up test check bench chaos image sbom compose-up clean setup

up: setup ## set up, start everything on this machine, show the table; Ctrl-C stops it
	@exec .venv/bin/horae up $(ARGS)

test: setup ## run the suite, a quarter of an hour on two cores; name each skipped test's missing server and how to install it
	$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov $(ARGS)

check: setup ## check formatting, lint, types and imports between modules
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo

bench: setup ## measure Horae and its peers on one Valkey, print a table; ARGS=--help lists the options
	@$(PYTHON) -m benchmarks $(ARGS)

chaos: setup ## run 20,000 jobs while killing, pausing and cutting off real processes, and report the result
	$(PYTHON) -m chaos $(ARGS)

image: ## build the container image `horae`; ARGS="--build-arg EXTRAS=prefect" passes arguments on
	docker build -t horae --build-arg REVISION=$$(git rev-parse HEAD) $(ARGS) .

sbom: setup ## write dist/sbom.cdx.json: the locked packages of the image, as CycloneDX
	@mkdir -p dist
	@uv=$$(command -v .horae/tools/uv/bin/uv uv | head -n 1) && \
	"$$uv" export --quiet --frozen --no-dev --extra all --format cyclonedx1.5 -o dist/sbom.cdx.json

compose-up: ## make the secrets that are absent, and start compose.yaml
	@scripts/compose-secrets
	HORAE_REVISION=$$(git log -1 --format=%ct) docker compose up --build --detach --wait $(ARGS)

clean: ## remove files that set-up and tools made; keep state and backups
	@scripts/clean

setup:
	@scripts/bootstrap
