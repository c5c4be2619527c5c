# airgapbuild's own image: docker, buildx, ssh-keygen and airgapbuild, for the jobs of a pipeline.
#
#     airgapbuild lock --file bundles/image.toml
#     airgapbuild export --file bundles/image.toml --with-tool
#
# pins and fetches its bases and airgapbuild itself; from there on nothing is asked for, here or behind
# the gap:
#
#     airgapbuild load bundles/image
#     airgapbuild build --build-context tool=bundles/image --tag airgapbuild --load .
#
# The same bundle comes to the same image with SOURCE_DATE_EPOCH set and, in place of --load,
# --output type=image,name=airgapbuild,rewrite-timestamp=true. Another --platform runs the one RUN by
# the builder's emulator.

# Where airgapbuild.pyz is: the build context of that name.
FROM scratch AS tool

FROM docker:28.5-cli AS docker

FROM buildpack-deps:trixie-scm AS scm

FROM python:3.13-slim-trixie
COPY --from=docker /usr/local/bin/docker /usr/local/bin/
COPY --from=docker /usr/local/libexec/docker/cli-plugins/docker-buildx /usr/local/libexec/docker/cli-plugins/
COPY --from=scm /usr/bin/ssh-keygen /usr/bin/
# A venv of its own, so that a job's Python has nothing of it. What is compiled here goes by hashes, not
# by times, so that it is the same each time and needs no writable folder later.
RUN --mount=from=tool,target=/tool <<EOF
set -eu
export PYTHONDONTWRITEBYTECODE=1
XDG_CACHE_HOME=/tmp python3 /tool/airgapbuild.pyz --version
python3 -m venv --without-pip /opt/airgapbuild
mv /tmp/airgapbuild/tool-*/* /opt/airgapbuild/lib/python3.*/site-packages/
rm -r /tmp/airgapbuild
python3 -m compileall -q --invalidation-mode unchecked-hash /opt/airgapbuild
cat >/usr/local/bin/airgapbuild <<'END'
#!/opt/airgapbuild/bin/python -I
from airgapbuild.cli import main

main()
END
chmod 755 /usr/local/bin/airgapbuild
EOF
LABEL org.opencontainers.image.title="airgapbuild" \
    org.opencontainers.image.description="Pin, bundle and load Buildx builder images for hosts that reach no registry" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"
# As root, like docker's own: the client keys of docker:dind and the daemon's socket are root's. It runs
# as any other user as well, who has a HOME to write to.
CMD ["airgapbuild", "--help"]
