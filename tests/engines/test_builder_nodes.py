"""A builder on two daemons, each with the platform that it builds for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.bundles import make_bundle, manifest
from tests.engines.daemon import docker_config
from tests.engines.site import BUILDER, CONTAINER, Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import FreshDaemon
    from tests.engines.daemon import Daemon
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry

FARM = "buildx_buildkit_farm"
NODES = """
[[builder.node]]
endpoint = "default"
platforms = ["linux/amd64"]

[[builder.node]]
name = "farm"
endpoint = "unix://{socket}"
platforms = ["linux/arm64"]
driver-opts = {{ memory = "{memory}" }}
"""


@pytest.fixture
def farm(fresh_daemon: FreshDaemon, closed: Namespace) -> Daemon:
    return fresh_daemon("newest", "classic", closed)


@pytest.fixture
def site(fresh_daemon: FreshDaemon, closed: Namespace, bed: Shelf, tmp_path: Path) -> Site:
    (tmp_path / "home").mkdir()
    daemon = fresh_daemon("28.5", "containerd", closed)
    return Site(daemon, docker_config(bed, tmp_path / "config"), tmp_path / "home")


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    [found] = json.loads(daemon.docker("inspect", name).stdout)
    parsed: dict[str, Any] = found
    return parsed


def build(site: Site, folder: Path) -> str:
    """What a build says that copies one file for each of two platforms."""
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    both = ("--platform", "linux/amd64,linux/arm64", "--output", folder / "out")
    argv = ("buildx", "build", "--progress=plain", *both, folder)
    return site.daemon.docker(*argv, config=site.config).stderr


def cached(daemon: Daemon, container: str) -> str:
    """What a node's buildkitd has built."""
    return daemon.docker("exec", container, "buildctl", "du", "--verbose").stdout


def test_a_builder_on_two_daemons(
    site: Site, farm: Daemon, registry: Registry, busybox: str, tmp_path: Path
) -> None:
    connected = tmp_path / "connected"
    connected.mkdir()
    text = manifest(registry.address, busybox) + NODES.format(socket=farm.socket, memory="512MB")
    bundle = make_bundle(connected, text)

    result = site.load(bundle)
    assert [image["in"] for image in result["images"]] == ["daemon", "layout", farm.host]
    assert result["builder"]["nodes"] == [
        {"name": f"{BUILDER}0", "endpoint": "default"},
        {"name": "farm", "endpoint": farm.host},
    ]
    assert result["builder"]["buildkit"] == "0.34.2"
    assert inspect(farm, FARM)["HostConfig"]["Memory"] == 512 << 20
    assert site.inspect(CONTAINER)["HostConfig"]["Memory"] == 0

    listed = site.docker("buildx", "ls")
    assert listed.count("running") >= len(result["builder"]["nodes"])
    assert "CACHED" not in build(site, tmp_path)
    assert sorted(it.name for it in (tmp_path / "out").iterdir()) == ["linux_amd64", "linux_arm64"]
    assert "local source for context" in cached(farm, FARM)
    assert "local source for context" in cached(site.daemon, CONTAINER)
    before = (site.inspect(CONTAINER)["Id"], inspect(farm, FARM)["Id"])
    assert site.load(bundle)["builder"]["changed"] is False
    assert (site.inspect(CONTAINER)["Id"], inspect(farm, FARM)["Id"]) == before

    # A change of the builder makes every node's container anew, and each keeps its cache.
    changed = text.replace("max-parallelism = 4", "max-parallelism = 2")
    assert site.load(make_bundle(connected, changed))["builder"]["changed"] is True
    after = (site.inspect(CONTAINER)["Id"], inspect(farm, FARM)["Id"])
    assert not set(before) & set(after)
    assert build(site, tmp_path).count("CACHED") == len(after)

    # One of a single node leaves the other alone.
    more = changed.replace("512MB", "600MB")
    site.load(make_bundle(connected, more))
    assert site.inspect(CONTAINER)["Id"] == after[0]
    assert inspect(farm, FARM)["HostConfig"]["Memory"] == 600 * (1 << 20)

    # A node that is not there is told before anything is sent or written.
    farm.stop()
    instance = site.config / "buildx/instances" / BUILDER
    written = instance.read_bytes()
    done = site.airgapbuild("load", make_bundle(connected, text))
    assert done.returncode == 8
    assert f"the builder's node at {farm.host}" in done.stderr
    assert instance.read_bytes() == written
