"""A builder on two daemons, each with the platform that it builds for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.bundles import make_bundle, manifest, with_frontend
from tests.engines.daemon import docker_config
from tests.engines.site import BUILDER, CONTAINER, Site
from tests.support.program import airgapbuild

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


def differential(folder: Path, text: str) -> Path:
    """A bundle of what the one in a folder does not have."""
    (folder / "airgapbuild.toml").write_text(text)
    for command in (("lock",), ("export", "--against", "bundles/builders")):
        assert airgapbuild(*command, cwd=folder).returncode == 0
    return folder / "bundles" / "builders-differential"


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
    plain = manifest(registry.address, busybox)
    text = plain + NODES.format(socket=farm.socket, memory="512MB")

    # A node that lacks what a differential bundle leaves out is told before anything is sent.
    site.load(make_bundle(connected, plain), "--no-boot")
    done = site.airgapbuild("load", differential(connected, with_frontend(text)))
    assert done.returncode == 7
    assert f"buildkit linux/amd64: neither the bundle nor the daemon at {farm.host}" in done.stderr
    assert "docker/dockerfile" not in site.airgapbuild("layout", "ls").stdout

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

    assert site.docker("buildx", "ls").count("running") >= len(result["builder"]["nodes"])
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

    # A node that the manifest has no more goes, with its cache; the other one is left alone.
    instance = site.config / "buildx/instances" / BUILDER
    written = instance.read_bytes()
    alone = make_bundle(connected, plain.replace("max-parallelism = 4", "max-parallelism = 2"))
    result = site.load(alone)
    assert (result["dropped-nodes"], result["builder"]["changed"]) == ([FARM], True)
    for left in (("ps", "--all"), ("volume", "ls")):
        assert farm.docker(*left, "--quiet").stdout == ""
    assert site.inspect(CONTAINER)["Id"] == after[0]

    # Where it does not answer, what may be left of it is told.
    farm.stop()
    instance.write_bytes(written)
    done = site.airgapbuild("load", "--no-boot", alone)
    assert done.returncode == 0
    assert f"{FARM} may be left, of a node that is no more: " in done.stderr

    # A node that is not there is told before anything is sent or written.
    instance.write_bytes(written)
    done = site.airgapbuild("load", make_bundle(connected, text))
    assert done.returncode == 8
    assert f"the builder's node at {farm.host}" in done.stderr
    assert instance.read_bytes() == written
