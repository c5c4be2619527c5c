"""A bundle in a registry inside: for other tools, and for a builder that has it as its mirror."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.lockfile import Lock, read_lock
from tests.bench.measure import OURS, Command, Tool, measured
from tests.engines.bundles import make_bundle, manifest
from tests.engines.daemon import Daemon, docker_config
from tests.engines.registry import Registry
from tests.engines.site import Site
from tests.support.program import PROGRAM, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

MIRROR = """
[buildkitd.registry."docker.io"]
mirrors = ["{0}/hub"]
[buildkitd.registry."{0}"]
http = true
"""
LIMIT = 128 << 20
"""Bytes. The bundle's layers come to 187 MB, and the largest of them to 90 MB."""


@dataclass(frozen=True)
class Inside:
    """A registry beside a builder, and what was pushed into it."""

    registry: Registry
    bundle: Path
    peak: int
    """Of the memory of the push, in bytes."""

    @property
    def lock(self) -> Lock:
        return read_lock(self.bundle / "airgapbuild.lock")


@pytest.fixture(scope="module")
def inside(
    bed: Shelf,
    registry: Registry,
    blackhole: Namespace,
    busybox: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Inside]:
    folder = tmp_path_factory.mktemp("inside")
    with Registry.start(
        bed, namespace=blackhole, writable=True, empty=True, newest=True
    ) as running:
        text = manifest(registry.address, busybox) + MIRROR.format(running.address)
        bundle = make_bundle(folder, text)
        push = (PROGRAM, "push", "--rewrite", bundle, running.address)
        command = Command((*blackhole.prefix, *push), environment(), folder)
        tool = Tool(OURS, lambda: nullcontext(command))
        with blackhole.capture() as seen:
            usage = measured(tool, folder)
        assert not seen.packets
        yield Inside(running, bundle, usage.peak)


def test_memory_stays_flat(inside: Inside) -> None:
    assert inside.peak < LIMIT


def test_other_tools_find_each_name_at_the_locked_digest(
    bed: Shelf, inside: Inside, blackhole: Namespace
) -> None:
    peers = bed.part("peers/go") / "bin"
    for image in inside.lock.image:
        for name in image.tagged:
            place = f"{inside.registry.address}/hub/{name.repository}:{name.tag}"
            assert said(blackhole, peers / "crane", "digest", place) == image.digest
            plain = ("resolve", "--plain-http")
            assert said(blackhole, peers / "oras", *plain, place) == image.digest


def test_a_builder_takes_from_it_as_its_mirror(
    bed: Shelf, inside: Inside, blackhole: Namespace, busybox: str, tmp_path: Path
) -> None:
    with Daemon.start(bed, "28.5", "containerd", blackhole) as daemon:
        site = Site(daemon, docker_config(bed, tmp_path / "docker", "newest"), tmp_path / "home")
        site.home.mkdir()
        site.load(inside.bundle)
        [image] = [it for it in inside.lock.image if it.name == "busybox"]
        context = tmp_path / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(
            f"FROM busybox:{busybox} AS one\nRUN echo built >/greeting\n"
            f"FROM busybox@{image.digest}\nCOPY --from=one /greeting /\n"
        )
        with blackhole.capture() as seen:
            site.docker("buildx", "build", "--output", tmp_path / "out", context)
        site.remove_builder()
    assert (tmp_path / "out/greeting").read_text() == "built\n"
    assert not seen.packets


def said(namespace: Namespace, *command: str | Path) -> str:
    """What another tool prints inside."""
    done = namespace.run(command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
