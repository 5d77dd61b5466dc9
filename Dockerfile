# Two images: `docker build --target web .` (no torch) and `--target worker`.
# Neither needs root, nor a root file system that it may write to: what they write goes to /data, /cache and /tmp.
# In production pin the base by its digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim

FROM ${BASE} AS packages
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/sh", "-euc"]
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements/web.txt requirements/slim requirements/
RUN pip --python /opt/venv/bin/python install --no-compile --require-hashes -r requirements/web.txt \
  && requirements/slim /opt/venv


# What exports a network needs, and nothing else.
FROM packages AS web-packages
# For predictions on NVIDIA GPUs: --build-arg SERVING=cuda
ARG SERVING=cpu
COPY requirements/cuda.txt requirements/
RUN if [ "$SERVING" = cuda ]; then \
  pip --python /opt/venv/bin/python uninstall --yes onnxruntime \
  && pip --python /opt/venv/bin/python install --no-compile --no-deps --require-hashes -r requirements/cuda.txt; fi
RUN rm -r /opt/venv/lib/python3.*/site-packages/onnxruntime/quantization \
  /opt/venv/lib/python3.*/site-packages/onnxruntime/tools \
  /opt/venv/lib/python3.*/site-packages/onnxruntime/transformers


FROM packages AS training-packages
COPY requirements/train.txt requirements/torch.txt requirements/
RUN pip --python /opt/venv/bin/python install --no-deps --require-hashes -r requirements/train.txt
# For CUDA: --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130; empty: the index that pip is told of.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN pip --python /opt/venv/bin/python install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} -r requirements/torch.txt \
  && python -m compileall -qq -j 0 /opt/venv/lib || true # some files are templates, not Python


FROM ${BASE} AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Breast Imaging Platform" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    APP_ENV=production \
    APP_HOST=0.0.0.0 \
    APP_PORT=8000 \
    APP_DATA_DIR=/data \
    APP_CACHE_DIR=/cache
WORKDIR /app
RUN mkdir /data /cache && chown 10001:10001 /data /cache


FROM base AS web
LABEL org.opencontainers.image.description="Pages, REST interface and predictions; also the janitor and the migrations"
COPY --from=web-packages /opt/venv /opt/venv
COPY . .
# Bytecode of what is imported, since nothing can be written later; of what is not it would be 20 MB more.
RUN python -m compileall -q jobs migrations ml webapp \
  && PYTHONDONTWRITEBYTECODE='' APP_ENV=development APP_DATA_DIR=/tmp/build python -c "import alembic.command, jobs.janitor, \
ml.dicom, ml.search, ml.serving, obstore, optuna, psycopg, sqlalchemy.dialects.postgresql, wsgi" && rm -r /tmp/build
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['APP_PORT'] + '/health/live', timeout=4)"]
CMD ["gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"]


# OMP_WAIT_POLICY: threads that spin while they wait would halve the speed where cores are shared.
# No HEALTHCHECK: a worker has no port; a job that hangs ends itself, and a worker that falls silent is missed by the
# janitor. A check that asked Redis would end every training when Redis is away for a minute.
FROM base AS worker
LABEL org.opencontainers.image.description="Trains, evaluates, brings archives in and scores them"
ENV OMP_WAIT_POLICY=PASSIVE \
    TORCH_HOME=/cache/torch
COPY --from=training-packages /opt/venv /opt/venv
COPY . .
RUN python -m compileall -q jobs migrations ml webapp
USER 10001:10001
CMD ["python", "-m", "jobs.worker"]
