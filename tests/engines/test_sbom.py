"""SBOMs, upstream digests and missing platforms, with a layout that a compact bundle has filled."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOM_MB
from tests.engines.bundles import make_bundle
from tests.engines.daemon import Daemon, docker_config
from tests.engines.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.layout import Image
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry

SCANNER = "docker/buildkit-syft-scanner:stable-1"
MANIFEST = """\
version = 1
name = "builders"
platforms = ["linux/amd64"]

[images.busybox]
ref = "busybox:{busybox}"
role = "base"

[images.scanner]
ref = "{scanner}"
role = "base"

[bundle]
layers = "compact"

[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""


@pytest.fixture(scope="module")
def compact_bases(
    registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    text = MANIFEST.format(busybox=busybox, scanner=SCANNER, registry=registry.address)
    return make_bundle(tmp_path_factory.mktemp("bases"), text)


@pytest.fixture(scope="module")
def site(
    bed: Shelf,
    blackhole: Namespace,
    bundle: Path,
    compact_bases: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "home").mkdir()
    with (
        Daemon.start(bed, "28.5", "containerd", blackhole, data_size_mb=ROOM_MB) as daemon,
        blackhole.capture() as seen,
    ):
        site = Site(daemon, docker_config(bed, folder / "docker", "newest"), folder / "home")
        site.load(bundle)
        site.load(compact_bases)
        yield site
        site.remove_builder()
    assert seen.packets == []


def test_an_sbom_by_the_scanner_of_the_layout(
    site: Site, images: dict[str, Image], busybox: str, tmp_path: Path
) -> None:
    upstream = images[f"library/busybox:{busybox}"].index
    (tmp_path / "Dockerfile").write_text(
        f"FROM busybox@{upstream}\n"
        f"COPY --from=busybox:{busybox}@{upstream} /bin/busybox /other/\n"
        "RUN /other/busybox true\n"
    )
    told = site.airgapbuild("check", "--sbom", tmp_path / "Dockerfile")
    assert told.returncode == 0, told.stderr
    out = tmp_path / "app.tar"
    options = ("--sbom=true", "--provenance=false", "--output", f"type=oci,dest={out}")
    done = site.airgapbuild("build", "--no-cache", *options, tmp_path)
    assert done.returncode == 0, done.stderr
    assert any("spdx" in statement["predicateType"] for statement in statements(out))


def test_a_platform_that_is_not_there_is_told_before_and_by_the_build(
    site: Site, busybox: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM busybox:{busybox}\n")
    told = site.airgapbuild("check", "--platform", "linux/arm64", tmp_path / "Dockerfile")
    assert told.returncode == 7
    assert f"busybox:{busybox} is in the layout, but not for linux/arm64" in told.stderr
    done = site.airgapbuild("build", "--platform", "linux/arm64", tmp_path)
    assert done.returncode == 1
    assert "no match for platform in manifest" in done.stderr


def statements(layout: Path) -> list[dict[str, str]]:
    """The in-toto statements in a layout's tar."""
    found = []
    with tarfile.open(layout) as tar:
        for member in tar:
            raw = tar.extractfile(member)
            content = raw.read() if raw and member.size < 1 << 20 else b""
            if content.startswith(b"{") and b'"predicateType"' in content:
                found.append(json.loads(content))
    return found
