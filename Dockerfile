# s2mirror as a container. Build it in a checkout:
#   docker build -t s2mirror .
#   podman build --format docker -t s2mirror .      (podman's own format has no HEALTHCHECK)
# config/compose.yaml runs it with a read-only root file system and no privileges.

# The Python version that the tests run on.
ARG PYTHON_VERSION=3.11

FROM docker.io/library/python:${PYTHON_VERSION}-slim AS build

# The status page answers the probes of an orchestrator. With '[web,sandbox]' the image can also run
# `s2mirror demo`, and is larger.
ARG EXTRAS="[web]"

WORKDIR /src

# The virtualenv has no pip, so it contains the program and its dependencies only. The pip of this
# build stage installs into it from outside.
RUN python -m venv --without-pip /opt/s2mirror

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY s2mirror ./s2mirror

RUN python -m pip --python /opt/s2mirror/bin/python --disable-pip-version-check \
        install --no-cache-dir --constraint constraints.txt ".${EXTRAS}"

# What s2mirror never uses is a third of the virtualenv: pip, which sqlite-utils requires for a command
# of its own; botocore's descriptions of services other than S3; numpy's tests.
RUN python -m pip --python /opt/s2mirror/bin/python --disable-pip-version-check uninstall --yes pip \
    && case "${EXTRAS}" in *sandbox*) ;; *) \
        find /opt/s2mirror/lib -path '*/botocore/data/*' -prune -type d ! -name s3 \
            -exec rm -r {} + ;; esac \
    && find /opt/s2mirror/lib -path '*/numpy/*' -type d -name tests -prune -exec rm -r {} +


FROM docker.io/library/python:${PYTHON_VERSION}-slim

LABEL org.opencontainers.image.title="s2mirror" \
      org.opencontainers.image.description="Keeps a local Sentinel-2 archive current from the Copernicus Data Space Ecosystem" \
      org.opencontainers.image.licenses="Apache-2.0"

# The IDs are fixed, so that files on the volumes have the same owner under every image.
# /config is read-only for the daemon: root owns it.
RUN groupadd --gid 10001 s2mirror \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /state \
        --shell /usr/sbin/nologin s2mirror \
    && install -d -m 0750 -o s2mirror -g s2mirror /archive /state \
    && install -d -m 0755 /config

COPY --from=build /opt/s2mirror /opt/s2mirror

# Nothing is written outside the volumes, not even temporary files. On a crash, the traceback of
# every thread is logged.
ENV PATH="/opt/s2mirror/bin:${PATH}" \
    HOME="/state" \
    SQLITE_TMPDIR="/state" \
    PYTHONDONTWRITEBYTECODE="1" \
    PYTHONFAULTHANDLER="1" \
    PYTHONUNBUFFERED="1"

# Relative paths start at a folder where writing is allowed.
WORKDIR /state

VOLUME ["/archive", "/state", "/config"]

# A number, so that an orchestrator can verify that the user is not root.
USER 10001:10001

# The daemon is process 1. On SIGTERM the daemon keeps partial files and ends within seconds.
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=1m --timeout=10s --start-period=2m --retries=3 \
    CMD ["s2mirror", "health", "--config", "/config/s2mirror.toml"]

ENTRYPOINT ["s2mirror"]
CMD ["run", "--config", "/config/s2mirror.toml"]
