"""Compact bundles in real daemons: another form of the same image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.reader import Bundle, open_bundle
from tests.engines.daemon import Daemon, Engine, Store, docker_config
from tests.engines.site import Site

if TYPE_CHECKING:
    from airgapbuild.oci.image import PlatformImage
    from tests.conftest import FreshDaemon
    from tests.engines.parts.part import Shelf


# Each engine, each store; the pair that is left out boots below.
PAIRS: tuple[tuple[Engine, Store], ...] = (
    ("20.10", "classic"),
    ("26.1", "containerd"),
    ("28.5", "classic"),
    ("newest", "classic"),
    ("newest", "containerd"),
)


@pytest.fixture(scope="module")
def opened(compact_bundle: Path) -> Bundle:
    return open_bundle(compact_bundle)


@pytest.fixture(scope="module")
def documents(opened: Bundle) -> PlatformImage:
    """The builder image, as it arrives."""
    image = opened.lock.find("buildkit")
    assert image is not None
    return opened.image(image, image.platform[0])


def expected(documents: PlatformImage, store: Store) -> str:
    document = documents.config if store == "classic" else documents.manifest
    return document.descriptor.digest


def site_of(daemon: Daemon, bed: Shelf, folder: Path) -> Site:
    (folder / "home").mkdir()
    return Site(daemon, docker_config(bed, folder / "config"), folder / "home")


@pytest.mark.parametrize(("engine", "store"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_plain_docker_load_and_ours_give_the_same_image(
    fresh_daemon: FreshDaemon,
    bed: Shelf,
    compact_bundle: Path,
    documents: PlatformImage,
    tmp_path: Path,
    engine: Engine,
    store: Store,
) -> None:
    site = site_of(fresh_daemon(engine, store), bed, tmp_path)
    if engine != "20.10":  # it does not know zstd
        site.docker("load", "-i", next(compact_bundle.glob("buildkit_*")))
    result = site.load(compact_bundle, "--no-boot")
    builder = result["images"][0]
    assert builder["action"] == ("loaded" if engine == "20.10" else "present")
    assert builder["id"] == expected(documents, store)
    for name in builder["names"]:
        assert site.inspect(name)["Id"] == builder["id"]
        assert site.inspect(name)["RootFS"]["Layers"] == [it.digest for it in documents.layers]


def test_a_compact_bundle_becomes_a_builder_that_builds(
    fresh_daemon: FreshDaemon, bed: Shelf, compact_bundle: Path, tmp_path: Path
) -> None:
    site = site_of(fresh_daemon("28.5", "containerd"), bed, tmp_path)
    result = site.load(compact_bundle)
    assert [image["action"] for image in result["images"]] == ["loaded", "loaded"]
    assert site.build(tmp_path) == b"hello from behind the gap\n"
    base = result["images"][1]
    assert base["platforms"] == ["linux/amd64", "linux/arm64"]
    place = f"oci-layout://{result['layout']}@{base['id']}"
    built = site.build(tmp_path, base=f"busybox={place}")
    assert built == b"hello from behind the gap\n"
    again = site.load(compact_bundle)
    assert [image["action"] for image in again["images"]] == ["present", "present"]
    assert sum(image["sent"] for image in again["images"]) == 0
    site.remove_builder()


def test_a_builder_is_two_thirds_of_an_exact_one(bundle: Path, compact_bundle: Path) -> None:
    [tarball] = compact_bundle.glob("buildkit_*")
    assert tarball.stat().st_size <= 0.66 * (bundle / tarball.name).stat().st_size
