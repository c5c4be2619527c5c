"""A build that needs all that a bundle brings: a frontend, two bases, one by digest, and RUN."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.layout import Image

_DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM {busybox} AS one
RUN echo "one ran on $(uname -m)" > /one
FROM bash@{digest} AS two
COPY --from=one /one /
RUN --mount=type=bind,from={busybox},target=/other \\
    test -x /other/bin/busybox && echo "two ran on $HOSTTYPE" > /two
FROM scratch
COPY --from=two /one /two /
COPY --from={busybox} /bin/busybox /
"""
PLATFORMS = "linux/amd64,linux/arm64"
_MACHINES = {"linux_amd64": ("x86_64", 62), "linux_arm64": ("aarch64", 183)}
"""What each is called by uname, and in the header of an ELF file."""


def write_context(folder: Path, images: dict[str, Image]) -> Path:
    """Makes the build's folder; the images of the bed are what it names."""
    [busybox] = [
        f"busybox:{image.tag}"
        for image in images.values()
        if image.repository == "library/busybox" and image.tag != "latest"
    ]
    folder.mkdir()
    digest = images["library/bash:5.2"].index
    (folder / "Dockerfile").write_text(_DOCKERFILE.format(busybox=busybox, digest=digest))
    return folder


def check(out: Path) -> None:
    """Passes only if both platforms have what ran on them, and a program of their own."""
    for platform, (machine, number) in _MACHINES.items():
        for name in ("one", "two"):
            assert (out / platform / name).read_text() == f"{name} ran on {machine}\n"
        assert (out / platform / "busybox").read_bytes()[18] == number
