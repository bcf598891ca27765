# One image for the sidecar, the queue worker and flow runs: the project with its locked packages.
#   docker build -t horae . && docker run --rm horae horae check
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /app
# Install the packages first, because they change less often than the code.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --all-extras --no-install-project
COPY . .
RUN uv sync --frozen --no-dev --all-extras

FROM ${PYTHON_IMAGE}
# The code sweep needs git. The backup of a PostgreSQL database needs pg_dump.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 horae
COPY --from=build --chown=horae /app /app
WORKDIR /app
RUN mkdir -p .horae && chown horae .horae
USER horae
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
# Horae's processes drain on SIGTERM. The grace period of compose or Kubernetes must exceed worker.grace_seconds (8 s).
STOPSIGNAL SIGTERM
CMD ["horae", "--help"]
