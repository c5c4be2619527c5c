"""The programs beside the engines: buildx, BuildKit, a registry, and other tools of the field."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from tests.engines.parts import debian, golang
from tests.engines.parts.debian import Suite, unpack
from tests.engines.parts.part import Part, RecipeError, Shelf, run

ARCHITECTURES = ("amd64", "arm64")


def _debian_buildx(suite: str, version: str, bed: Shelf, into: Path) -> None:
    """Take the plugin out of Debian's package."""
    scratch = into / "scratch"
    unpack(Suite(bed.root, suite).fetch(scratch / "debs", "docker-buildx"), scratch)
    plugin = next(scratch.rglob("cli-plugins/docker-buildx"))
    shutil.copy(plugin, into / "docker-buildx")
    shutil.rmtree(scratch)
    said = run([into / "docker-buildx", "version"])
    if f" {version}." not in said and f" v{version}." not in said:
        raise RecipeError(f"Debian {suite} no longer has buildx {version}: {said.strip()}")


def _newest_buildx(_bed: Shelf, into: Path) -> None:
    version = golang.version("buildx", "github.com/docker/buildx")
    stamp = f"github.com/docker/buildx/version.Version={version}"
    golang.build("buildx", ("github.com/docker/buildx/cmd/buildx",), into, stamp=stamp)
    (into / "buildx").rename(into / "docker-buildx")


def _buildkit(arch: str, _bed: Shelf, into: Path) -> None:
    module = "github.com/moby/buildkit"
    programs = ("cmd/buildkitd", "cmd/buildctl", "frontend/dockerfile/cmd/dockerfile-frontend")
    golang.build(
        "buildkit",
        tuple(f"{module}/{program}" for program in programs),
        into,
        stamp=f"{module}/version.Version={golang.version('buildkit', module)}",
        arch=arch,
    )


def _peers(_bed: Shelf, into: Path) -> None:
    crane = golang.version("peers", "github.com/google/go-containerregistry")
    golang.build(
        "peers",
        (
            "github.com/google/go-containerregistry/cmd/crane",
            "oras.land/oras/cmd/oras",
            "github.com/regclient/regclient/cmd/regctl",
        ),
        into / "bin",
        stamp=f"github.com/google/go-containerregistry/cmd/crane/cmd.Version={crane}",
    )


def _debian_peers(_bed: Shelf, into: Path) -> None:
    """Link to the host's own, which need too many libraries to be unpacked beside it."""
    (into / "bin").mkdir()
    for program in ("skopeo", "podman"):
        (into / "bin" / program).symlink_to(shutil.which(program) or "")


def _registry(bed: Shelf, into: Path) -> None:
    unpack(Suite(bed.root, "bookworm").fetch(into / "scratch", "docker-registry"), into / "scratch")
    (into / "scratch/usr/bin/docker-registry").rename(into / "docker-registry")
    shutil.rmtree(into / "scratch")


_HERE = Path(__file__)

PARTS = (
    *(
        Part(
            f"buildx/{version}",
            partial(_debian_buildx, suite, version),
            recipe=(_HERE, debian.HERE),
        )
        for version, suite in {"0.13": "trixie", "0.29": "sid"}.items()
    ),
    Part("registry", _registry, recipe=(_HERE, debian.HERE)),
    *(
        Part(
            f"buildkit/{arch}",
            partial(_buildkit, arch),
            recipe=(_HERE, *golang.recipe("buildkit")),
            lane="go",
        )
        for arch in ARCHITECTURES
    ),
    Part(
        "buildx/newest",
        _newest_buildx,
        recipe=(_HERE, *golang.recipe("buildx")),
        ahead=partial(golang.ahead, "buildx"),
        lane="go",
    ),
    Part(
        "peers/go",
        _peers,
        recipe=(_HERE, *golang.recipe("peers")),
        ahead=partial(golang.ahead, "peers"),
        lane="go",
    ),
    Part(
        "peers/debian",
        _debian_peers,
        recipe=(_HERE,),
        tools=(("skopeo", "skopeo"), ("podman", "podman")),
    ),
)
