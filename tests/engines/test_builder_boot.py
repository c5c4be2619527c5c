"""Builders on real daemons, with every buildx, where no network is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING, TypeAlias

import pytest

from airgapbuild.builder.buildkitd import render, sealing
from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.instance import MARK, Instance, InstanceStore, Node
from airgapbuild.buildkitd import Buildkitd, LockedBuildkitd
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import BuilderError
from airgapbuild.oci.platform import Platform
from tests.engines import layout
from tests.engines.daemon import BOOTING, DISTINCT, Engine, Store, docker_config
from tests.engines.daemon import Buildx as BedBuildx
from tests.engines.daemon import Daemon as BedDaemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreshDaemon
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

IMAGE = "moby/buildkit:v0.34.2"
NAME = "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2"
CONTAINER = "buildx_buildkit_airgap0"
FLAGS = ("--allow-insecure-entitlement=network.host",)
OPTIONS = {"image": NAME, "network": "host", MARK: "1"}
CONFIG = """
insecure-entitlements = ["network.host"]
history = { maxAge = 3600, maxEntries = 10 }
system.platformsCacheMaxAge = "2h"
dns.nameservers = ["10.0.0.2"]
cdi.disabled = true
[log]
level = "debug"
[worker.oci]
max-parallelism = 2
noProcessSandbox = false
gc = true
labels = { zone = "inside" }
gcpolicy = [{ all = true, keepDuration = "31h", maxUsedSpace = "1.5GB", minFreeSpace = 5000000 }]
[registry."docker.io"]
mirrors = ["127.0.0.1:2/hub"]
[registry."127.0.0.1:2"]
http = true
"""

Chosen: TypeAlias = tuple[tuple[Engine, Store], BedBuildx]
NEWEST_BUILDX: list[Chosen] = [(pair, "newest") for pair in DISTINCT if pair in BOOTING]
OLDER_BUILDX: list[Chosen] = [(("28.5", "containerd"), "0.13"), (("28.5", "containerd"), "0.29")]


def on(*chosen: Chosen) -> pytest.MarkDecorator:
    """Runs a test on these daemons with these buildx; test_flow.py has every pair of them."""
    return pytest.mark.parametrize(
        ("daemon", "buildx"),
        chosen,
        indirect=True,
        ids=["-".join((*pair, buildx)) for pair, buildx in chosen],
        scope="session",
    )


@pytest.fixture(scope="session")
def tarball(
    bed: Shelf, images: dict[str, layout.Image], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("buildkit") / "buildkit.tar"
    layout.save(bed.part("images/built") / "layout", images[IMAGE], (NAME,), target, "linux/amd64")
    return target


def load_once(daemon: BedDaemon, tarball: Path) -> None:
    if daemon.docker("image", "inspect", NAME, check=False).returncode:
        daemon.docker("load", "-i", tarball)


@pytest.fixture
def ready(daemon: BedDaemon, tarball: Path) -> BedDaemon:
    """A daemon that holds the builder's image."""
    load_once(daemon, tarball)
    return daemon


@pytest.fixture
def environ(ready: BedDaemon, config: Path) -> Iterator[dict[str, str]]:
    """An environment with one of the buildx; its builder is removed afterwards."""
    yield ready.env | {"DOCKER_CONFIG": str(config)}
    ready.docker("buildx", "rm", "airgap", config=config, check=False)


def instance(config: LockedBuildkitd | None = None, **options: str) -> Instance:
    files = {"buildkitd.toml": render(config)} if config else {}
    return Instance("airgap", (Node("airgap0", "default", OPTIONS | options, FLAGS, files),))


def parsed(text: str) -> LockedBuildkitd:
    return Buildkitd.model_validate(tomllib.loads(text)).locked


def build(daemon: BedDaemon, config: Path, folder: Path, dockerfile: str) -> str:
    """What a plain `docker buildx build` says; an empty string where it does not fail."""
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "hello").write_text("hello")
    output = ("--output", f"type=local,dest={folder / 'out'}")
    done = daemon.docker("buildx", "build", *output, folder, config=config, check=False)
    return done.stderr if done.returncode else ""


@on(*NEWEST_BUILDX, *OLDER_BUILDX)
def test_a_builder_boots_and_is_the_one_that_builds(
    ready: BedDaemon, environ: dict[str, str], config: Path, tmp_path: Path
) -> None:
    endpoint = find_endpoint(None, environ)
    store, wanted = InstanceStore.of(environ), instance(parsed(CONFIG), **sealing(parsed(CONFIG)))
    assert store.write(wanted)
    assert store.make_current(wanted, endpoint.buildx_key)
    lines: list[str] = []
    assert Buildx.find(environ).boot("airgap", environ, lines.append) == "0.34.2"
    assert any("booting buildkit" in line for line in lines)
    assert build(ready, config, tmp_path, "FROM scratch\nCOPY hello /\n") == ""
    assert (tmp_path / "out/hello").read_text() == "hello"
    assert not store.write(wanted)

    said = ready.docker("buildx", "inspect", config=config).stdout
    assert "airgap0" in said
    assert "Keep Duration:" in said.replace("\t", " ")
    assert "31h0m0s" in said

    with Daemon.connect(endpoint) as daemon:
        container, image = daemon.container(CONTAINER), daemon.image(NAME)
        assert container is not None
        assert image is not None
        assert container.running
        assert (container.image, container.image_name) == (image.id, NAME)
        assert "HTTPS_PROXY=http://127.0.0.1:1" in container.environment
        assert container.command == ("--config", "/etc/buildkit/buildkitd.toml", *FLAGS)
        daemon.remove_container(CONTAINER)
        daemon.remove_container(CONTAINER)
        assert daemon.container(CONTAINER) is None
    volumes = ready.docker("volume", "ls", "-q").stdout
    assert f"{CONTAINER}_state" in volumes
    assert Buildx.find(environ).boot("airgap", environ, print) == "0.34.2"


@on(*OLDER_BUILDX, (("28.5", "containerd"), "newest"))
def test_an_instance_is_byte_for_byte_what_buildx_writes(
    ready: BedDaemon, environ: dict[str, str], config: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "env.X": 'a&b<c>"é'}
    wanted = Instance("Airgap", (Node("airgap0", ready.host, options, FLAGS),))
    given = [f"--driver-opt={key}={value}" for key, value in options.items() if key != "env.X"]
    quoted = options["env.X"].replace('"', '""')
    given.append(f'--driver-opt="env.X={quoted}"')
    create = ("buildx", "create", "--driver=docker-container", "--name=Airgap", "--use")
    ready.docker(*create, *given, config=config)
    written = InstanceStore.of(environ).read("airgap")
    assert written is not None
    assert written.document == wanted.document()
    assert not InstanceStore.of(environ).write(wanted)
    assert not InstanceStore.of(environ).make_current(wanted, ready.host)

    other = tmp_path / "docker.sock"
    other.symlink_to(ready.socket)
    append = ("buildx", "create", "--append", "--name=Airgap", "--node=farm")
    ready.docker(
        *append, "--platform=linux/arm/v7,linux/arm64/v8", f"unix://{other}", config=config
    )
    arm = (Platform("linux", "arm", "v7"), Platform("linux", "arm64"))
    farm = Node("farm", f"unix://{other}", flags=FLAGS, platforms=arm)
    two = InstanceStore.of(environ).read("airgap")
    assert two is not None
    assert two.document == Instance("Airgap", (*wanted.nodes, farm)).document()


@on(*OLDER_BUILDX, (("28.5", "containerd"), "newest"))
def test_buildx_writes_the_same_file_for_a_config(
    ready: BedDaemon, environ: dict[str, str], config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "buildkitd.toml"
    file.write_bytes(render(parsed(CONFIG)))
    option = f"driver-opt=image={NAME},network=host"
    create = ("buildx", "create", "--driver=docker-container", "--name=airgap", f"--{option}")
    ready.docker(*create, f"--config={file}", config=config)
    written = InstanceStore.of(environ).read("airgap")
    assert written is not None
    (node,) = json.loads(written.document)["Nodes"]
    ours = json.loads(instance(parsed(CONFIG)).document())["Nodes"][0]
    assert list(node) == list(ours)
    assert list(node["Files"]) == list(ours["Files"])


@on(*NEWEST_BUILDX, *OLDER_BUILDX)
def test_an_image_that_is_not_there_is_told_in_buildx_s_words(environ: dict[str, str]) -> None:
    InstanceStore.of(environ).write(instance(image="127.0.0.1:1/airgapbuild/nothing:v1"))
    with pytest.raises(BuilderError, match=r"does not start: .*127\.0\.0\.1:1") as failed:
        Buildx.find(environ).boot("airgap", environ, print)
    assert "connection refused" in failed.value.message


@on((("28.5", "containerd"), "newest"))
def test_a_config_that_buildkit_refuses_is_told(environ: dict[str, str]) -> None:
    files = {"buildkitd.toml": b'root = "/dev/null"\n'}
    node = Node("airgap0", "default", OPTIONS, FLAGS, files)
    InstanceStore.of(environ).write(Instance("airgap", (node,)))
    with pytest.raises(BuilderError, match=r"does not start: buildkitd: .*/dev/null"):
        Buildx.find(environ).boot("airgap", environ, print)


@pytest.fixture
def blackholed(
    fresh_daemon: FreshDaemon, blackhole: Namespace, bed: Shelf, tarball: Path, tmp_path: Path
) -> tuple[BedDaemon, Path]:
    """A daemon behind a silent firewall."""
    daemon = fresh_daemon("28.5", "containerd", blackhole)
    load_once(daemon, tarball)
    return daemon, docker_config(bed, tmp_path / "config")


def test_a_sealed_builder_fails_at_once_behind_a_silent_firewall(
    blackholed: tuple[BedDaemon, Path], blackhole: Namespace, tmp_path: Path
) -> None:
    daemon, config = blackholed
    environ = daemon.env | {"DOCKER_CONFIG": str(config)}
    wanted = instance(None, **sealing(LockedBuildkitd()))
    store = InstanceStore.of(environ)
    store.write(wanted)
    store.make_current(wanted, find_endpoint(None, environ).buildx_key)
    with blackhole.capture() as seen:
        Buildx.find(environ).boot("airgap", environ, print)
        start = time.monotonic()
        said = build(daemon, config, tmp_path, "FROM nothere.example/x\n")
        took = time.monotonic() - start
        git = build(daemon, config, tmp_path, "FROM scratch\nADD http://git.example/x.git /\n")
    assert "connection refused" in said
    assert took < 2
    assert "127.0.0.1" in git
    assert seen.packets == []


BOOT = """
import os
from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.instance import MARK, Instance, InstanceStore, Node
from airgapbuild.engine.endpoint import find_endpoint
endpoint = find_endpoint(None, os.environ)
instance = Instance("airgap", (Node("airgap0", endpoint.buildx_endpoint, {options}, {flags}),))
InstanceStore.of(os.environ).write(instance)
InstanceStore.of(os.environ).make_current(instance, endpoint.buildx_key)
print(Buildx.find(os.environ).boot("airgap", os.environ, lambda line: None))
"""


def test_a_builder_boots_with_tls_by_environment_as_in_gitlab(
    tls_daemon: BedDaemon, config: Path, tarball: Path, tmp_path: Path
) -> None:
    load_once(tls_daemon, tarball)
    script = BOOT.format(options=repr(OPTIONS), flags=repr(FLAGS))
    env = tls_daemon.env | {"DOCKER_CONFIG": str(config), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [*tls_daemon.namespace.prefix, sys.executable, "-c", script]
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("0.34.2\n", "")
        assert build(tls_daemon, config, tmp_path, "FROM scratch\nCOPY hello /\n") == ""
        assert (tmp_path / "out/hello").read_text() == "hello"
    finally:
        tls_daemon.docker("buildx", "rm", "airgap", config=config, check=False)
