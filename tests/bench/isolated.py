"""The rows of the isolated side: daemons in namespaces that reach nothing."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.measure import OURS, Command, Tool
from tests.bench.row import Row
from tests.bench.stage import BUILDKIT, Stage
from tests.engines.daemon import Daemon, Engine, Store, docker_config
from tests.engines.netns import Kind, Namespace
from tests.engines.site import BUILDER, Site
from tests.support.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE: Engine = "newest"
_PEER = "peer"


@contextmanager
def new_site(
    stage: Stage, store: Store, kind: Kind = "closed", engine: Engine = ENGINE
) -> Iterator[Site]:
    """A new daemon with nothing in it, and a user of it."""
    folder = stage.new_site()
    (folder / "home").mkdir()
    (folder / "data").mkdir()
    config = docker_config(stage.bed, folder / "config")
    with (
        Namespace(kind) as inside,
        Daemon.start(stage.bed, engine, store, inside, data=folder / "data") as daemon,
    ):
        yield Site(daemon, config, folder / "home")


def at(site: Site, *argv: str | Path) -> Command:
    return Command((*site.daemon.namespace.prefix, *argv), site.env, site.home)


def _load(site: Site, stage: Stage) -> Command:
    return at(site, PROGRAM, "load", "-q", "--no-boot", stage.bundle)


def _docker_load(site: Site, stage: Stage) -> Command:
    return at(site, "docker", "load", "-q", "-i", stage.tarball)


_LOADERS = {OURS: _load, "docker load": _docker_load}


@contextmanager
def _fresh(stage: Stage, store: Store) -> Iterator[list[Tool]]:
    @contextmanager
    def ready(tool: str) -> Iterator[Command]:
        with new_site(stage, store) as site:
            yield _LOADERS[tool](site, stage)

    yield [Tool(tool, partial(ready, tool)) for tool in _LOADERS]


@contextmanager
def _again(stage: Stage, store: Store) -> Iterator[list[Tool]]:
    with new_site(stage, store) as site:
        site.load(stage.bundle, "--no-boot")

        @contextmanager
        def ready(tool: str) -> Iterator[Command]:
            yield _LOADERS[tool](site, stage)

        yield [Tool(tool, partial(ready, tool)) for tool in _LOADERS]


@contextmanager
def _black_hole(stage: Stage, store: Store) -> Iterator[list[Tool]]:
    with new_site(stage, store, "blackhole") as site:
        site.load(stage.bundle, "--no-boot")
        site.remove_builder()
        context = site.home / "context"
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nCOPY greeting /\n")
        (context / "greeting").write_text("hello\n")
        build = f"docker buildx build --output {site.home}/out {context}"
        image = f"--driver-opt image={BUILDKIT},network=host"
        create = f"docker buildx create --name {_PEER} --use {image} --bootstrap"
        scripts = {
            OURS: f"{PROGRAM} load -q {stage.bundle} && {build}",
            "buildx create": f"{create} && {build}",
        }

        @contextmanager
        def ready(tool: str) -> Iterator[Command]:
            yield at(site, "sh", "-ec", scripts[tool])
            site.docker("buildx", "rm", "--force", BUILDER if tool == OURS else _PEER)
            shutil.rmtree(site.home / "out")

        yield [Tool(tool, partial(ready, tool), once=tool != OURS) for tool in scripts]


_FRESH = (
    "one BuildKit platform into a daemon that was started for this run and holds nothing (an image "
    "that was removed leaves traces); ours verifies the bundle, and names the image three times; "
    "memory is the client's"
)
_AGAIN = "the same into a daemon that holds it; ours verifies the bundle and asks the daemon"
_BLACK_HOLE = (
    "from the start of load, the image being there, to the end of a build FROM scratch, behind a "
    "firewall that drops everything; the builder is removed between the runs; buildx create is run "
    "once, since it waits for its pull to fail; memory is the clients'"
)

ROWS = (
    *(
        Row(f"load-{store}", f"{store} store: {_FRESH}", partial(_fresh, store=store))
        for store in ("classic", "containerd")
    ),
    *(
        Row(f"load-nothing-{store}", f"{store} store: {_AGAIN}", partial(_again, store=store))
        for store in ("classic", "containerd")
    ),
    Row("black-hole", _BLACK_HOLE, partial(_black_hole, store="containerd")),
)
