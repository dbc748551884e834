# syntax=docker/dockerfile:1
# The images of a deployment, from one set of locked dependencies:
#   code      (default) code server and run pods
#   platform  webserver and daemon: the same, and Dagster's UI and its client of Kubernetes
#
# Any Debian-like base with Python 3.11+ and its venv module does. Pin it by digest; deploy/azure.sh does that:
#   docker build --build-arg BASE_IMAGE=docker.io/library/python@sha256:… .
# checkov:skip=CKV_DOCKER_7:The base is the argument above the first stage, which has a version and is pinned by digest
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-bookworm


FROM ${BASE_IMAGE} AS builder
# The system's certificates, so that a proxy of one's own can be trusted. Bytecode is never checked against its source
# again: the file system is read-only, so a stale timestamp would mean compiling at every start.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_SYSTEM_CERTS=1 \
    UV_NO_CACHE=1 \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    VIRTUAL_ENV=/opt/tempagg
WORKDIR /build
SHELL ["/bin/sh", "-euc"]
COPY constraints.txt ./
RUN python3 -m venv /opt/uv; \
    /opt/uv/bin/pip install --no-cache-dir "$(grep '^uv==' constraints.txt)"; \
    python3 -m venv --without-pip "$VIRTUAL_ENV"
# Dependencies change less often than the package: a layer of their own.
COPY pyproject.toml deploy/image-excludes.txt ./
RUN /opt/uv/bin/uv pip install --constraints constraints.txt --excludes image-excludes.txt --extra aks -r pyproject.toml; \
    find "$VIRTUAL_ENV" -type d -path '*/numpy/*' -name tests -prune -exec rm -r {} +; \
    rm -r "$VIRTUAL_ENV"/lib/python3.*/site-packages/pandas/tests
COPY README.md LICENSE ./
COPY tempagg_pipeline tempagg_pipeline
RUN /opt/uv/bin/uv pip install --no-deps --build-constraints constraints.txt .


FROM builder AS platform-builder
RUN /opt/uv/bin/uv pip install --constraints constraints.txt dagster-webserver dagster-k8s; \
    rm -r "$VIRTUAL_ENV"/lib/python3.*/site-packages/kubernetes/aio


FROM ${BASE_IMAGE} AS runtime
# What the platform writes goes to /tmp, the only writable path it needs: mount an emptyDir there.
ENV PATH=/opt/tempagg/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAGSTER_DISABLE_TELEMETRY=1
WORKDIR /opt/tempagg
# A number, so that Kubernetes can see that it is not root; no entry in /etc/passwd is needed.
USER 10001:10001
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tempagg_pipeline" \
      org.opencontainers.image.description="One-minute station temperatures to hourly statistics, on Dagster" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM runtime AS platform
COPY --from=platform-builder /opt/tempagg /opt/tempagg
EXPOSE 3000
CMD ["dagster-webserver", "--host", "0.0.0.0", "--port", "3000"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/server_info')"]


FROM runtime AS code
COPY --from=builder /opt/tempagg /opt/tempagg
EXPOSE 3030
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "3030", "--module-name", "tempagg_pipeline.definitions"]
# For plain containers; Kubernetes asks the same service itself, by gRPC and without starting a Python.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["dagster", "api", "grpc-health-check", "--port", "3030"]
