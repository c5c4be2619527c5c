"""Bundles for the tests that run whole flows, and daemons as our program sees them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.lockfile import Lock, read_lock
from tests.conftest import ROOM_MB
from tests.engines.bundles import compact_manifest, make_bundle, manifest
from tests.engines.daemon import Daemon as BedDaemon
from tests.engines.netns import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.layout import Image
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry


@pytest.fixture(scope="session")
def busybox(images: dict[str, Image]) -> str:
    """The tag of the base image."""
    [tag] = [
        name.rpartition(":")[2]
        for name in images
        if name.startswith("library/busybox:") and not name.endswith(":latest")
    ]
    return tag


@pytest.fixture(scope="session")
def bundle(
    registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("connected")
    yield make_bundle(folder, manifest(registry.address, busybox))
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def compact_bundle(
    registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("compact")
    yield make_bundle(folder, compact_manifest(registry.address, busybox))
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def lock(bundle: Path) -> Lock:
    return read_lock(bundle / "airgapbuild.lock")


@pytest.fixture(scope="session")
def tls_daemon(bed: Shelf) -> Iterator[BedDaemon]:
    """A daemon as in GitLab's docker-in-docker; tests share it and take their builder away."""
    with (
        Namespace() as own,
        BedDaemon.start(bed, "28.5", "containerd", own, tls=True, data_size_mb=ROOM_MB) as running,
    ):
        yield running


@pytest.fixture
def held(daemon: BedDaemon) -> Iterator[Daemon]:
    """Every daemon, as our program sees it; without the images, which would slow down later tests.

    A containerd store takes a while for each image that it is asked to list.
    """
    with Daemon.connect(find_endpoint(None, daemon.env)) as connected:
        yield connected
    daemon.docker("image", "prune", "--all", "--force")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test gives to an image."""
    return f"example.org/tests/{abs(hash(request.node.name))}:v1"
