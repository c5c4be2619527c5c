"""buildkitd.toml in the hands of real BuildKits and of every buildx."""

from __future__ import annotations

import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from airgapbuild.builder.buildkitd import config_files
from airgapbuild.builder.instance import Instance, InstanceStore, Node
from airgapbuild.buildkitd import Buildkitd
from tests.engines.bundles import make_bundle, manifest
from tests.engines.daemon import BUILDX, Buildx, Daemon, docker_config
from tests.engines.registry import Registry
from tests.engines.site import CONTAINER, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

EVERY_KEY = """
[buildkitd]
root = "/var/lib/buildkit"
insecure-entitlements = ["network.host", "security.insecure", "device"]
proxyNetwork = false
provenanceEnvDir = "/etc/buildkit/provenance.d"
log = { level = "debug", format = "json" }
grpc.debugAddress = "127.0.0.1:0"
grpc.uid = 0
grpc.gid = 0
grpc.securityDescriptor = ""
otel.socketPath = "/run/buildkit/otel-grpc.sock"
cdi = { disabled = false, specDirs = ["/etc/cdi"], autoAllowed = ["vendor.example/class"] }
dns = { nameservers = ["192.0.2.53"], options = ["edns0"], searchDomains = ["corp.example"] }
history = { maxAge = "48h", maxEntries = 5 }
system = { platformsCacheMaxAge = "1h", maxRegistryConcurrency = 4, sessionAuthTimeout = "-1s" }
frontend."dockerfile.v0".enabled = true
frontend."gateway.v0" = { enabled = true, allowedRepositories = ["docker/dockerfile"] }
cache.gha = { sign.command = ["true"], verify = { required = false, policy.tlogThreshold = 1 } }
[buildkitd.compaction]
enabled = true
idleTimeout = "1m"
maxRetry = 3
writesPerCheck = 10000
sizeWatermark = 134217728
sizeGrowthPercent = 100
minReclaimBytes = 268435456
minReclaimPercent = 30
minReclaimPercentFloor = 10
[buildkitd.worker.containerd]
enabled = false
hypervIsolation = false
runtime = { name = "r", path = "/r", options = { a = 1 } }
[buildkitd.worker.oci]
enabled = true
labels = { zone = "a" }
platforms = ["linux/amd64"]
snapshotter = "native"
rootless = false
noProcessSandbox = false
gc = true
reservedSpace = "10%"
maxUsedSpace = "60GB"
minFreeSpace = 1000000
networkMode = "host"
cniConfigPath = "/etc/buildkit/cni.json"
cniBinaryPath = "/opt/cni/bin"
cniPoolSize = 0
bridgeName = "buildkit0"
bridgeSubnet = "10.10.0.0/16"
defaultCgroupParent = "builds"
stargzSnapshotter = { no_prometheus = true }
selinux = false
max-parallelism = 4
[[buildkitd.worker.oci.gcpolicy]]
all = true
filters = ["type==source.local"]
keepDuration = "48h"
reservedSpace = "1GB"
maxUsedSpace = 2000000000
minFreeSpace = "5%"
"""
MIRROR = """
[buildkitd.registry."docker.io"]
mirrors = [{{ host = "{host}", http = false, ca = "corp.pem" }}]  # plain on the loopback, else
[[buildkitd.registry."{host}".keypair]]
cert = "{cert}"
key = "{key}"
"""


@pytest.fixture(scope="module")
def mutual(bed: Shelf, closed: Namespace) -> Iterator[Registry]:
    """A registry behind the gap that wants to see a client's certificate."""
    with Registry.start(bed, mutual=True, namespace=closed) as running:
        yield running


@pytest.fixture(scope="module")
def shipped(
    registry: Registry, mutual: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle whose builder has every key, and the mirror behind the gap."""
    assert mutual.ca is not None
    assert mutual.client is not None
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "corp.pem").write_bytes(mutual.ca.read_bytes())
    text = manifest(registry.address, busybox).partition("[buildkitd")[0]
    client = mutual.client
    mirror = MIRROR.format(host=mutual.address, cert=client.cert, key=client.key)
    return make_bundle(folder, f"{text}{EVERY_KEY}{mirror}")


@pytest.fixture(scope="module")
def site(bed: Shelf, closed: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Daemon.start(bed, "28.5", "containerd", closed) as daemon:
        site = Site(daemon, docker_config(bed, folder / "docker", "newest"), folder / "home")
        site.home.mkdir()
        yield site
        site.remove_builder()


def test_a_build_pulls_from_a_mirror_that_wants_a_certificate(
    site: Site, shipped: Path, mutual: Registry, busybox: str, tmp_path: Path
) -> None:
    assert mutual.client is not None
    key = mutual.client.key
    hidden = key.rename(key.with_name("hidden"))
    done = site.airgapbuild("load", shipped)
    assert done.returncode == 9
    assert f"{key}: No such file or directory" in done.stderr
    assert site.docker("images", "--quiet") == ""
    assert not (site.config / "buildx/instances/airgap").exists()

    hidden.rename(key)
    assert site.load(shipped)["builder"]["buildkit"] == "0.34.2"
    (tmp_path / "Dockerfile").write_text(f"FROM busybox:{busybox}\nRUN echo ok > /greeting\n")
    site.docker("buildx", "build", "--output", tmp_path / "out", tmp_path)
    assert (tmp_path / "out/greeting").read_text() == "ok\n"
    assert mutual.log.read_text().count("/v2/library/busybox/manifests/") > 0

    said = site.docker("logs", CONTAINER)
    assert '"level":"error"' not in said
    assert '"level":"warning"' not in said
    secret = "".join(key.read_text().split("-----")[2].split())[:40]
    for path in shipped.iterdir():
        if path.suffix in {".json", ".lock", ".toml"}:
            assert secret not in "".join(path.read_text().split())
    assert not site.load(shipped)["builder"]["changed"]


@pytest.mark.parametrize("buildx", BUILDX)
def test_every_buildx_lists_a_builder_with_every_key(
    bed: Shelf, buildx: Buildx, tmp_path: Path
) -> None:
    config = docker_config(bed, tmp_path, buildx)
    buildkitd = Buildkitd.model_validate(tomllib.loads(EVERY_KEY)["buildkitd"]).locked
    node = Node("airgap0", "unix:///nowhere.sock", files=config_files(buildkitd))
    environ = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(config), "PATH": "/usr/bin:/bin"}
    InstanceStore.of(environ).write(Instance("airgap", (node,)))
    argv = (config / "cli-plugins/docker-buildx", "ls")
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert "airgap0" in done.stdout
    assert "parse config" not in done.stdout + done.stderr


@pytest.mark.parametrize("buildx", BUILDX)
def test_a_key_that_needs_quotes_is_beyond_buildx_with_the_older_reader(
    bed: Shelf, buildx: Buildx, tmp_path: Path
) -> None:
    """What `checks` says of go-toml v1, asked of buildx itself."""
    config = docker_config(bed, tmp_path, buildx)
    buildkitd = Buildkitd.model_validate({"registry": {"[fd00::1]:5000": {"http": True}}}).locked
    node = Node("airgap0", "unix:///nowhere.sock", files=config_files(buildkitd))
    environ = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(config), "PATH": "/usr/bin:/bin"}
    InstanceStore.of(environ).write(Instance("airgap", (node,)))
    argv = (config / "cli-plugins/docker-buildx", "ls")
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert ("parse config" in done.stdout + done.stderr) is (buildx != "newest")
