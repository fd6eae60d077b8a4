# syntax=docker/dockerfile:1
#
#   docker build --target dispatcher -t dispatcher .
#   docker build --target sender -t sender .
#
# Arguments: PYTHON may add the digest to pin the base to the byte (python:…@sha256:…); REQUIREMENTS=services-extras.txt
# adds what INLINE_CSS, TEXT_FROM_HTML and TRACES need; REVISION is the commit. docs/containers.md says more.

ARG PYTHON=python:3.13.9-slim-bookworm

# The locked packages, in a virtual environment that has no pip. Only ready-made wheels: nothing is compiled.
FROM ${PYTHON} AS packages
ARG REQUIREMENTS=services.txt
COPY requirements/ /requirements/
RUN ["python", "-m", "venv", "--without-pip", "/venv"]
RUN python -m pip --python /venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --only-binary :all: --no-deps --require-hashes --requirement /requirements/${REQUIREMENTS}
# Compiled here, because the file system may be read-only later; unchecked, because nothing changes any more.
RUN ["/venv/bin/python", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/venv/lib"]

# What both services stand on.
FROM ${PYTHON} AS base
# The base image has Python's own library as source only: each start would compile what it imports of it.
RUN python -m pip uninstall --yes --quiet pip && rm -rf /usr/local/lib/python3.*/ensurepip \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(idlelib|pydoc_data|tkinter|turtledemo)/' \
      /usr/local/lib/python3.*
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY LICENSE ./
COPY shared/ shared/
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "shared"]
EXPOSE 8080
STOPSIGNAL SIGTERM
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" org.opencontainers.image.revision="${REVISION}"

FROM base AS dispatcher
COPY dispatcher/ dispatcher/
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "dispatcher"]
LABEL org.opencontainers.image.title="Firepost dispatcher" \
      org.opencontainers.image.description="Turns Firestore document events into Pub/Sub messages"
USER 65532:65532
ENTRYPOINT ["python", "-m", "dispatcher"]

FROM base AS sender
COPY sender/ sender/
RUN ["python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "sender"]
LABEL org.opencontainers.image.title="Firepost sender" \
      org.opencontainers.image.description="Sends the mail that Pub/Sub messages ask for"
USER 65532:65532
ENTRYPOINT ["python", "-m", "sender"]
CMD ["push"]
