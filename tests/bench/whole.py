"""The rows of a whole site: from a daemon that holds nothing to the end of a real build."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.isolated import at, new_site
from tests.bench.measure import OURS, Tool
from tests.bench.row import Row
from tests.engines.registry import images
from tests.engines.site import BUILDER
from tests.engines.whole_build import PLATFORMS, write_context
from tests.support.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.measure import Command
    from tests.bench.stage import Stage
    from tests.engines.daemon import Engine, Store

_ENGINES: tuple[Engine, ...] = ("28.5", "newest")
_COMPACT = f"{OURS}, compact"
_BUILDER_IMAGE = "moby/buildkit:v0.34.2-qemu"
_WARM = "warm builder"
_BY_HAND = "by hand"


@contextmanager
def _whole(stage: Stage, engine: Engine, store: Store) -> Iterator[list[Tool]]:
    """The peers take their base images from a layout that we have filled before."""
    bundle = stage.site_bundle
    [tarball] = bundle.glob("buildkit_*.oci.tar.zst")
    with new_site(stage, store, "blackhole", engine) as warm:
        warm.load(bundle)
        context = write_context(warm.home / "context", images(stage.bed))
        contexts = warm.airgapbuild("contexts").stdout.split()
        options = f"--no-cache --platform {PLATFORMS} --output out {context}"
        build = f"docker buildx build {' '.join(contexts)} {options}"
        load = f"docker load -q -i {tarball}"
        create = (
            f"docker buildx create --name peer --use --driver-opt "
            f"image={_BUILDER_IMAGE},network=host --bootstrap"
        )
        boot = f"docker buildx inspect --bootstrap {BUILDER}"
        there = f"DOCKER_HOST={warm.daemon.host} DOCKER_CONFIG={warm.config}"
        scripts = {
            OURS: f"{PROGRAM} load -q {bundle} && {PROGRAM} build {options}",
            _COMPACT: f"{PROGRAM} load -q {stage.compact_site_bundle} && {PROGRAM} build {options}",
            _WARM: f"{load} && {there} {build} --builder {BUILDER}",
            _BY_HAND: f"{load} && {boot} && {build} --builder {BUILDER}",
            "buildx create": f"{load} && {create} && {build}",
        }

        @contextmanager
        def ready(tool: str) -> Iterator[Command]:
            warm.docker("buildx", "prune", "--all", "--force", "--builder", BUILDER)
            with new_site(stage, store, "blackhole", engine) as fresh:
                if tool == _BY_HAND:
                    shutil.copytree(warm.config / "buildx", fresh.config / "buildx")
                yield at(fresh, "sh", "-ec", scripts[tool])

        yield [Tool(tool, partial(ready, tool), once=tool == "buildx create") for tool in scripts]


_WHAT = (
    "behind a firewall that drops everything, from a daemon that was started for this run and "
    "holds nothing to the end of a build for two platforms, with # syntax, two bases and RUN on "
    "both; ours is load and build, from an exact and from a compact bundle; warm builder is "
    "docker load of the builder's image alone, then the same build by a builder that runs in "
    "another daemon already and has nothing cached; by hand is docker load, docker buildx inspect "
    "--bootstrap and the same build where base images and the builder's files are there already, "
    "so the least that any tool takes; buildx create is docker load, docker buildx "
    "create --bootstrap and the same build, run once, since it waits for its pull to fail; memory "
    "is the clients'"
)

ROWS = tuple(
    Row(
        f"whole-build-{engine}-{store}",
        f"Docker {engine}, {store} store, {_WHAT}",
        partial(_whole, engine=engine, store=store),
    )
    for engine in _ENGINES
    for store in ("classic", "containerd")
)
