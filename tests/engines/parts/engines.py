"""Docker Engines: each a folder `bin` that holds all that a daemon and its client start."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from tests.engines.parts import debian, golang
from tests.engines.parts.debian import Suite, unpack
from tests.engines.parts.part import Part, RecipeError, Shelf, run

_HOST_SUITE = "bookworm"
"""runc and tini come from the oldest release: they must run with the libraries of the host."""

_PROGRAMS = ("dockerd", "docker", "docker-proxy", "containerd", "containerd-shim-runc-v2", "ctr")

_TOOLS = (
    ("ip", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("openssl", "openssl"),
    ("nsenter", "util-linux"),
    ("iptables", "iptables"),
)


def _debian(suite: str, version: str, packages: tuple[str, ...], bed: Shelf, into: Path) -> None:
    scratch = into / "scratch"
    unpack(Suite(bed.root, suite).fetch(scratch / "debs", *packages), scratch / "root")
    unpack(Suite(bed.root, _HOST_SUITE).fetch(scratch / "host", "runc", "tini"), scratch / "runc")
    (into / "bin").mkdir()
    for program in _PROGRAMS:
        _take(program, scratch / "root", into / "bin" / program)
    _take("runc", scratch / "runc", into / "bin/runc")
    # Containers with `Init` fail unless dockerd finds a static init under this name.
    _take("tini-static", scratch / "runc", into / "bin/docker-init")
    shutil.rmtree(scratch)
    said = run([into / "bin/dockerd", "--version"])
    if f" {version}." not in said:
        raise RecipeError(f"Debian {suite} no longer has Docker {version}: {said.strip()}")


def _take(program: str, tree: Path, target: Path) -> None:
    for folder in ("usr/sbin", "usr/bin", "sbin", "bin"):
        source = tree / folder / program
        if source.is_file() and not source.is_symlink():
            shutil.copy(source, target)
            return
    raise RecipeError(f"the packages hold no {program}")


def _newest(bed: Shelf, into: Path) -> None:
    """Take dockerd and runc from Go, the rest from the engine before."""
    shutil.copytree(bed.part("engines/28.5") / "bin", into / "bin")
    version = golang.version("moby", "github.com/moby/moby/v2").removeprefix("v")
    golang.build(
        "moby",
        ("github.com/moby/moby/v2/cmd/dockerd",),
        into / "bin",
        stamp=f"github.com/moby/moby/v2/dockerversion.Version={version}",
    )
    # The newest dockerd asks for a time namespace, which Debian 12's runc does not know.
    golang.build("runc", ("github.com/opencontainers/runc",), into / "bin", cgo=True)


_SPLIT = ("docker.io", "docker-cli", "containerd")
_FROM_DEBIAN = {
    "20.10": ("bookworm", ("docker.io", "containerd")),
    "26.1": ("trixie", _SPLIT),
    "28.5": ("sid", _SPLIT),
}

PARTS = (
    *(
        Part(
            f"engines/{version}",
            partial(_debian, suite, version, packages),
            recipe=(Path(__file__), debian.HERE),
            tools=_TOOLS,
        )
        for version, (suite, packages) in _FROM_DEBIAN.items()
    ),
    Part(
        "engines/newest",
        _newest,
        recipe=(Path(__file__), *golang.recipe("moby"), *golang.recipe("runc")),
        needs=("engines/28.5",),
        tools=(*_TOOLS, ("gcc", "gcc")),
        ahead=partial(golang.ahead, "moby", "runc"),
        lane="go",
    ),
)
