# Two images: `docker build --target web .` (no torch) and `--target worker`.
# Neither needs root, nor a root file system that it may write to: what they write goes to /data, /cache and /tmp.
FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
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
COPY requirements/web.txt requirements/
RUN pip install --require-hashes -r requirements/web.txt


FROM base AS web
COPY . .
RUN python -m compileall -q jobs migrations ml webapp
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['APP_PORT'] + '/health/live', timeout=4)"]
CMD ["gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"]


# OMP_WAIT_POLICY: threads that spin while they wait would halve the speed where cores are shared.
# No HEALTHCHECK: a worker has no port, and one that falls silent is missed by the janitor.
FROM base AS worker
ENV OMP_WAIT_POLICY=PASSIVE
COPY requirements/train.txt requirements/torch.txt requirements/
RUN pip install --no-deps --require-hashes -r requirements/train.txt
# For CUDA: --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130; empty: the index that pip is told of.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} -r requirements/torch.txt
COPY . .
RUN python -m compileall -q jobs migrations ml webapp
USER 10001:10001
CMD ["python", "-m", "jobs.worker"]
