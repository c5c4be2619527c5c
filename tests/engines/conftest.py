"""Bundles and sites for the tests that run whole flows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.lockfile import Lock, read_lock
from tests.engines.bundles import make_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.layout import Image
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
    yield make_bundle(folder, registry, busybox)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def lock(bundle: Path) -> Lock:
    return read_lock(bundle / "airgapbuild.lock")
