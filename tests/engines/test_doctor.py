"""What doctor says of real sites: whole ones, and ones that lack something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.bundles import make_bundle, manifest, with_frontend
from tests.engines.daemon import Daemon, docker_config
from tests.engines.site import CONTAINER, Site
from tests.support.program import document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.bed import Bed
    from tests.engines.netns import Namespace
    from tests.engines.registry import Registry


@pytest.fixture(scope="module")
def shipped(registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a builder, a frontend and a base image."""
    text = with_frontend(manifest(registry.address, busybox))
    return make_bundle(tmp_path_factory.mktemp("shipped"), text)


@pytest.fixture(scope="module")
def site(
    bed: Bed, blackhole: Namespace, shipped: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Daemon.start(bed, "28.5", "containerd", blackhole) as daemon:
        site = Site(daemon, docker_config(bed, folder / "docker", "newest"), folder / "home")
        site.home.mkdir()
        site.load(shipped)
        yield site
        site.remove_builder()


def findings(site: Site, *arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
    """What doctor finds."""
    done = site.airgapbuild("doctor", "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    found: list[dict[str, Any]] = document(done)["findings"]
    return found


def not_ok(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [it for it in found if it["state"] != "ok"]


def test_a_loaded_site_is_well_and_no_packet_leaves(
    site: Site, shipped: Path, blackhole: Namespace
) -> None:
    with blackhole.capture() as seen:
        found = findings(site, shipped)
    assert not_ok(found) == []
    said = "\n".join(it["what"] for it in found)
    assert "containerd image store" in said
    assert "runs BuildKit 0.34.2" in said
    assert "airgap0 is sealed" in said
    assert seen.packets == []


def test_a_container_made_from_something_else(site: Site) -> None:
    site.docker("rm", "--force", CONTAINER)
    image = "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2"
    site.docker("create", "--name", CONTAINER, image)
    [problem] = not_ok(findings(site, code=9))
    assert problem["check"] == "builder"
    assert "made from another image or other settings" in problem["what"]
    site.docker("rm", CONTAINER)
