"""Bundles of the bed's images, made by airgapbuild from a registry, as users make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.program import airgapbuild

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """\
version = 1
name = "builders"
platforms = ["linux/amd64", "linux/arm64"]

[images.buildkit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
tags = ["moby/buildkit:buildx-stable-1"]

[images.busybox]
ref = "busybox:{busybox}"
role = "base"

[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false

[builder]
name = "airgap"
image = "buildkit"
sealed = true
driver-opts = {{ network = "host" }}

[buildkitd.worker.oci]
max-parallelism = 4
"""

_FRONTEND = """\
[images.dockerfile]
ref = "docker/dockerfile:1.19"
role = "frontend"
tags = ["docker/dockerfile:1"]

"""

_SECOND_BASE = """\
[images.bash]
ref = "bash:5.2"
role = "base"

"""


def manifest(registry: str, busybox: str) -> str:
    """A manifest of a builder and a base image, by their ordinary names."""
    return MANIFEST.format(registry=registry, busybox=busybox)


def compact_manifest(registry: str, busybox: str) -> str:
    """The same as a compact bundle, and the builder for this machine only."""
    builder = 'role = "builder"\n'
    text = manifest(registry, busybox).replace(builder, f'{builder}platforms = ["linux/amd64"]\n')
    return f'{text}\n[bundle]\nlayers = "compact"\n'


def with_frontend(text: str) -> str:
    """The same manifest with a Dockerfile frontend."""
    return text.replace("[registries", _FRONTEND + "[registries", 1)


def site_manifest(registry: str, busybox: str) -> str:
    """A manifest for whole builds: a builder with an emulator, a frontend, two base images."""
    text = with_frontend(manifest(registry, busybox)).replace(
        *(
            'v0.34.2"\nrole = "builder"\n',
            'v0.34.2-qemu"\nrole = "builder"\nplatforms = ["linux/amd64"]\n',
        )
    )
    return text.replace("[registries", _SECOND_BASE + "[registries", 1)


def make_bundle(folder: Path, text: str) -> Path:
    """Locks and exports in a folder; the bundle."""
    (folder / "airgapbuild.toml").write_text(text)
    for command in ("lock", "export"):
        done = airgapbuild(command, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "bundles" / "builders"
