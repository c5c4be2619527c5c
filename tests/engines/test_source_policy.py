"""A site with a registry: builds get what the lock pins from there, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOM_MB
from tests.engines.bundles import manifest, with_frontend
from tests.engines.daemon import Daemon, docker_config
from tests.engines.registry import Registry
from tests.engines.site import Site
from tests.support.program import airgapbuild

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.layout import Image
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf


@pytest.fixture(scope="module")
def inside(bed: Shelf, blackhole: Namespace) -> Iterator[Registry]:
    """The site's registry, which has all images below a path."""
    with Registry.start(bed, namespace=blackhole, path="hub") as running:
        yield running


@pytest.fixture(scope="module")
def site(
    bed: Shelf,
    blackhole: Namespace,
    inside: Registry,
    registry: Registry,
    bundle: Path,
    busybox: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A site whose builder is sealed; nothing leaves it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "home").mkdir()
    (folder / "airgapbuild.toml").write_text(with_frontend(manifest(registry.address, busybox)))
    assert airgapbuild("lock", cwd=folder).returncode == 0
    told = airgapbuild("source-policy", "--registry", f"{inside.address}/hub", cwd=folder)
    (folder / "source-policy.json").write_text(told.stdout)
    with (
        Daemon.start(bed, "28.5", "containerd", blackhole, data_size_mb=ROOM_MB) as daemon,
        blackhole.capture() as seen,
    ):
        daemon.env["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] = str(folder / "source-policy.json")
        site = Site(daemon, docker_config(bed, folder / "docker", "newest"), folder / "home")
        site.load(bundle)
        yield site
        site.remove_builder()
    assert seen.packets == []


def test_what_the_lock_has_comes_by_digest(
    site: Site, inside: Registry, images: dict[str, Image], busybox: str, tmp_path: Path
) -> None:
    base = images[f"library/busybox:{busybox}"].index
    (tmp_path / "Dockerfile").write_text(
        "# syntax=docker/dockerfile:1\n"
        f"FROM busybox:{busybox} AS one\n"
        "RUN echo built > /greeting\n"
        f"FROM busybox@{base}\n"
        f"COPY --from=busybox:{busybox}@{base} /bin/busybox /other\n"
        "COPY --from=one /greeting /\n"
    )
    site.docker("buildx", "build", "--output", tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "greeting").read_text() == "built\n"
    asked = inside.log.read_text()
    assert f"/v2/hub/library/busybox/manifests/{base}" in asked
    frontend = images["docker/dockerfile:1"].index
    assert f"/v2/hub/docker/dockerfile/manifests/{frontend}" in asked
    assert f"manifests/{busybox}" not in asked


@pytest.mark.parametrize("name", ["bash:5.2", "{registry}/hub/library/bash:5.2", "busybox:latest"])
def test_everything_else_is_denied(site: Site, inside: Registry, name: str, tmp_path: Path) -> None:
    name = name.format(registry=inside.address)
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN true\n")
    done = site.daemon.docker("buildx", "build", tmp_path, config=site.config, check=False)
    assert done.returncode == 1
    assert "denied by policy" in done.stderr
    assert "bash" not in inside.log.read_text()
