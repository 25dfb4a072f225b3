# The web demo for a server that others may use; see "Run a public demo" in docs/operation.md.
#
#   docker build -t space .
#   docker run --read-only --tmpfs /tmp:size=4g --cap-drop ALL --security-opt no-new-privileges \
#     --memory 6g --pids-limit 512 --stop-timeout 45 -p 127.0.0.1:7860:7860 space
#
# Nothing is downloaded at run time. PIP_EXTRA_INDEX_URL as a build argument can name a source of torch without CUDA.
FROM python:3.11-slim

WORKDIR /app
COPY requirements.txt ./
ARG PIP_EXTRA_INDEX_URL
# Further packages: deploy/compose.yaml adds Ray.
ARG EXTRA_PACKAGES=""
RUN pip install --no-cache-dir --no-input --disable-pip-version-check -r requirements.txt $EXTRA_PACKAGES

COPY app.py LICENSE README.md ./
COPY space_core space_core
COPY weights weights
COPY examples examples
RUN python -m compileall -q space_core app.py

# The root file system can be read-only: all that is written goes to /tmp, which is memory and is gone at the end.
ENV HOME=/tmp TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SPACE_HOST=0.0.0.0 SPACE_PORT=7860
USER 10001:10001
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=120s --retries=3 CMD ["python", "-m", "space_core.web.healthcheck"]
CMD ["python", "app.py"]
