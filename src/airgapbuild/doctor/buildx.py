"""Buildx: found, new enough, and nothing in the environment that turns builds away from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airgapbuild.builder.buildx import Buildx
from airgapbuild.doctor.finding import Finding, ok, problem, told, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.doctor.site import Site

_TESTED: Final = (0, 13)
_LEADING: Final = re.compile(r"(\d+)\.(\d+)", re.ASCII)
# Source: Go's strconv.ParseBool, by which docker reads DOCKER_BUILDKIT and buildx its own.
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def check_buildx(site: Site) -> Iterator[Finding]:
    """Whether it is there, how, and in which version."""
    buildx = site.buildx
    if not isinstance(buildx, Buildx):
        yield told(buildx, "it is buildx that starts the builder and builds")
        return
    kind = "docker's plugin" if buildx.command[0] == "docker" else "alone, without docker"
    found = _LEADING.match(buildx.version)
    if found and (int(found[1]), int(found[2])) < _TESTED:
        yield warning(
            f"buildx {buildx.version} ({kind})",
            "airgapbuild is tested with 0.13 and newer; older ones lack options",
            "put a newer docker-buildx into ~/.docker/cli-plugins",
        )
    else:
        yield ok(f"buildx {buildx.version} ({kind})")


def check_environment(site: Site) -> Iterator[Finding]:
    """Whether variables keep builds from the builder."""
    environ = site.environ
    if environ.get("DOCKER_BUILDKIT") in _FALSE:
        yield warning(
            f"DOCKER_BUILDKIT={environ['DOCKER_BUILDKIT']} turns BuildKit off for `docker build`",
            "the builder before BuildKit knows no builder of buildx and asks registries",
            "unset DOCKER_BUILDKIT",
        )
    if environ.get("BUILDX_DEFAULT_POLICY") in _TRUE:
        yield warning(
            f"BUILDX_DEFAULT_POLICY={environ['BUILDX_DEFAULT_POLICY']} demands signatures of "
            "docker's own images",
            "buildx asks the network for them, and refuses builds that take images from a layout",
            "export BUILDX_DEFAULT_POLICY=0",
        )
    platform = environ.get("DOCKER_DEFAULT_PLATFORM")
    if platform and site.platform and platform != str(site.platform):
        yield warning(
            f"DOCKER_DEFAULT_PLATFORM={platform}, and the daemon runs {site.platform}",
            "builds that name no --platform are for that one, and need its images and emulator",
            "unset DOCKER_DEFAULT_PLATFORM",
        )
    policy = environ.get("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY")
    if policy and not Path(policy).is_file():
        yield problem(
            f"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY names {policy}, which is no file",
            "buildx reads it before each build and stops",
            "unset EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",
        )
