# One image for the sidecar, the queue worker, the receiver, and Prefect's worker and server: the project with its
# locked packages. The command of a container decides what it runs.
#   docker build -t horae . && docker run --rm horae horae check
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
# Extras of pyproject.toml, separated by spaces. A project that runs no bundled job needs "prefect postgres".
ARG EXTRAS=all
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /app
# Install the packages first, because they change less often than the code.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project $(printf -- '--extra %s ' ${EXTRAS})
# The backup uses S3 alone, so the descriptions of the other 400 services of AWS are left out.
RUN data=$(echo .venv/lib/python3*/site-packages/botocore/data) && if [ -d "$data" ]; then \
    find "$data" -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name 'sts' ! -name 'sso*' -exec rm -r {} +; fi
COPY . .
RUN uv sync --frozen --no-dev $(printf -- '--extra %s ' ${EXTRAS}) \
    && uv export --quiet --frozen --no-dev --format cyclonedx1.5 $(printf -- '--extra %s ' ${EXTRAS}) -o sbom.cdx.json

FROM ${PYTHON_IMAGE}
# Programs of jobs: the code sweep needs git, the backup of a PostgreSQL database needs pg_dump.
ARG PACKAGES="git postgresql-client"
RUN if [ -n "${PACKAGES}" ]; then apt-get update \
    && apt-get install --yes --no-install-recommends ${PACKAGES} \
    && rm -rf /var/lib/apt/lists/*; fi \
    && useradd --create-home --uid 10001 horae
# The code belongs to root. The processes write to /app/.horae and /tmp alone, so the root file system can be read-only.
COPY --from=build /app /app
WORKDIR /app
RUN mkdir .horae && chown 10001:10001 .horae
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PREFECT_HOME=/app/.horae/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
VOLUME /app/.horae
# Horae's processes drain on SIGTERM. The grace period of compose or Kubernetes must exceed worker.grace_seconds (8 s).
STOPSIGNAL SIGTERM
# Asks each process that listens in the container. A container of Prefect's server replaces it, as compose.yaml does.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s CMD ["horae", "health"]
CMD ["horae", "--help"]
# At the end, because a new revision invalidates the layers after it.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Horae" \
      org.opencontainers.image.description="Puts every recurring job on the right one of three schedulers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
