"""The whole main job, on every engine, store and buildx: lock, export, load, boot, build."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.signature import sign_bundle
from airgapbuild.signing import SshKeygen
from tests.conftest import ROOM_MB
from tests.engines.daemon import BOOTING, Daemon, docker_config
from tests.engines.netns import Namespace
from tests.engines.site import BUILDER, CONTAINER, Site
from tests.support.forgery import make_two
from tests.support.keys import Keys
from tests.support.program import HEARS_SIGNALS, PROGRAM, environment
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.lockfile import Lock
    from tests.engines.layout import Image
    from tests.engines.parts.part import Shelf

NAMES = (
    "moby/buildkit:v0.34.2",
    "moby/buildkit:buildx-stable-1",
    "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2",
)


SIGNED = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "kit:1"
role = "base"
"""


@pytest.fixture
def site(daemon: Daemon, config: Path, tmp_path: Path) -> Site:
    (tmp_path / "home").mkdir()
    return Site(daemon, config, tmp_path / "home")


@pytest.fixture
def boots(daemon: Daemon) -> bool:
    return (daemon.engine, daemon.store) in BOOTING


def expected_id(lock: Lock, store: str) -> str:
    image = lock.find("buildkit")
    assert image is not None
    return image.digest if store == "containerd" else image.platform[0].config


def test_a_bundle_becomes_a_builder_that_builds(
    site: Site, bundle: Path, lock: Lock, boots: bool, tmp_path: Path
) -> None:
    result = site.load(bundle, *([] if boots else ["--no-boot"]))
    assert result["daemon"]["store"] == site.daemon.store
    for name in NAMES:
        assert site.inspect(name)["Id"] == expected_id(lock, site.daemon.store)
    if site.daemon.store == "containerd":
        [digest] = [image.digest for image in lock.image if image.name == "buildkit"]
        assert site.inspect(f"moby/buildkit@{digest}")["Id"] == digest
    if not boots:
        return
    try:
        assert result["builder"]["buildkit"] == "0.34.2"
        assert site.build(tmp_path) == b"hello from behind the gap\n"
        before = site.inspect(CONTAINER)["Id"]
        again = site.load(bundle)
        assert [image["action"] for image in again["images"]] == ["present", "present"]
        assert sum(image["sent"] for image in again["images"]) == 0
        assert again["builder"]["changed"] is False
        assert site.inspect(CONTAINER)["Id"] == before
    finally:
        site.remove_builder()


def test_the_lock_holds_what_the_registry_has(lock: Lock, images: dict[str, Image]) -> None:
    image = lock.find("buildkit")
    built = images["moby/buildkit:v0.34.2"]
    assert image is not None
    assert image.digest == built.index
    assert {str(p.platform): (p.manifest, p.config) for p in image.platform} == {
        name: (platform.manifest, platform.config) for name, platform in built.platforms.items()
    }
    assert all(platform.attestations for platform in image.platform)


@pytest.fixture(scope="module")
def newest_daemon(bed: Shelf, closed: Namespace) -> Iterator[Daemon]:
    with Daemon.start(bed, "newest", "containerd", closed, data_size_mb=ROOM_MB) as running:
        yield running


@pytest.fixture
def newest(newest_daemon: Daemon, bed: Shelf, tmp_path: Path) -> Iterator[Site]:
    """A user of the newest engine, who may find its images, but no builder."""
    (tmp_path / "home").mkdir()
    site = Site(newest_daemon, docker_config(bed, tmp_path / "config"), tmp_path / "home")
    yield site.copy()
    site.remove_builder()


@pytest.fixture
def empty(newest: Site) -> Site:
    """The same, without any image."""
    newest.docker("image", "prune", "--all", "--force")
    return newest


def test_a_daemon_over_tls_by_its_address(
    tls_daemon: Daemon, bed: Shelf, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    owner = Site(tls_daemon, docker_config(bed, tmp_path / "config"), tmp_path / "home")
    site = owner.copy()
    named = ("--host", site.daemon.env.pop("DOCKER_HOST"))
    assert tls_daemon.host.startswith("tcp://")
    try:
        site.load(bundle, *named)
        assert site.build(tmp_path, *named) == b"hello from behind the gap\n"
    finally:
        owner.remove_builder()


def test_a_docker_context_is_the_builders_endpoint(
    newest: Site, bundle: Path, tmp_path: Path
) -> None:
    host = newest.env["DOCKER_HOST"]
    newest.docker("context", "create", "inside", "--docker", f"host={host}")
    env = {name: value for name, value in newest.env.items() if name != "DOCKER_HOST"}
    newest.daemon.env.clear()
    newest.daemon.env.update(env | {"DOCKER_CONTEXT": "inside"})
    newest.load(bundle)
    assert newest.build(tmp_path) == b"hello from behind the gap\n"
    [node] = json.loads((newest.config / "buildx/instances" / BUILDER).read_bytes())["Nodes"]
    assert node["Endpoint"] == "inside"


def test_a_host_by_option_is_the_builders_endpoint(
    newest: Site, bundle: Path, tmp_path: Path
) -> None:
    host = newest.daemon.env.pop("DOCKER_HOST")
    done = newest.airgapbuild("load", "--host", host, bundle)
    assert done.stdout.splitlines()[-1] == f"now: docker --host {host} buildx build ."
    assert newest.build(tmp_path, "--host", host) == b"hello from behind the gap\n"
    [node] = json.loads((newest.config / "buildx/instances" / BUILDER).read_bytes())["Nodes"]
    assert node["Endpoint"] == host


def test_a_container_made_from_something_else_is_made_anew_and_keeps_its_cache(
    newest: Site, bundle: Path, tmp_path: Path
) -> None:
    newest.load(bundle)
    newest.docker("rm", "--force", CONTAINER)
    newest.docker(
        *("run", "--detach", "--privileged", "--network", "host", "--name", CONTAINER),
        *("--volume", f"{CONTAINER}_state:/var/lib/buildkit", NAMES[0]),
    )
    other = newest.inspect(CONTAINER)["Id"]
    assert newest.load(bundle)["builder"]["changed"] is True
    assert newest.inspect(CONTAINER)["Id"] != other
    volumes = newest.docker("volume", "ls", "--quiet").split()
    assert volumes == [f"{CONTAINER}_state"]
    assert newest.build(tmp_path) == b"hello from behind the gap\n"


def test_without_buildx_the_files_are_written_and_the_remedy_is_told(
    newest: Site, bundle: Path
) -> None:
    shutil.rmtree(newest.config / "cli-plugins")
    done = newest.airgapbuild("load", bundle)
    assert done.returncode == 9
    assert "`docker buildx version` does not work here" in done.stderr
    assert "docker-buildx-plugin" in done.stderr
    assert (newest.config / "buildx/instances" / BUILDER).exists()
    assert (newest.home / ".config/airgapbuild" / BUILDER / "buildkitd.toml").exists()
    assert newest.inspect(NAMES[0])


def test_a_name_that_another_driver_has_is_exit_9(newest: Site, bundle: Path) -> None:
    path = newest.config / "buildx/instances" / BUILDER
    path.parent.mkdir(parents=True)
    path.write_text('{"Name":"airgap","Driver":"kubernetes","Nodes":[],"Dynamic":false}')
    done = newest.airgapbuild("load", bundle)
    assert done.returncode == 9
    assert "builder 'airgap' exists with driver kubernetes" in done.stderr
    assert "kubernetes" in path.read_text()


@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_of_a_damaged_bundle_not_one_byte_reaches_the_daemon(
    empty: Site, bundle: Path, tmp_path: Path, where: float
) -> None:
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    path = next(damaged.glob("buildkit_*_linux-amd64.oci.tar.zst"))
    raw = bytearray(path.read_bytes())
    raw[int(where * len(raw)) if where >= 0 else -1] ^= 1
    path.write_bytes(raw)
    with Relay(empty.daemon.socket, tmp_path / "relay.sock") as relay:
        done = empty.airgapbuild("load", "--host", f"unix://{relay.path}", damaged)
    assert done.returncode == 6
    assert f"{path.name}: sha256: " in done.stderr
    assert b"/images/load" not in relay.sent
    assert empty.docker("image", "ls", "--quiet") == ""


def test_a_bundle_in_parts_is_loaded_without_joining(
    empty: Site, bundle: Path, lock: Lock, tmp_path: Path
) -> None:
    parted = Path(shutil.copytree(bundle, tmp_path / "parted"))
    done = empty.airgapbuild("split", "--size", "20MB", parted)
    assert done.returncode == 0, done.stderr
    parts = sorted(parted.glob("buildkit_*_linux-amd64.oci.tar.zst.0*"))
    assert len(parts) > 2
    assert empty.load(parted, "--no-boot")["images"][0]["action"] == "loaded"
    assert empty.inspect(NAMES[0])["Id"] == expected_id(lock, empty.daemon.store)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=parted, check=True)
    parts[1].unlink()
    done = empty.airgapbuild("load", "--no-boot", parted)
    assert done.returncode == 7
    assert f"{parts[1].name}: is missing" in done.stderr


def test_an_interrupted_load_ends_at_once_and_can_be_run_again(
    empty: Site, bundle: Path, tmp_path: Path
) -> None:
    for seen in (1, 1 << 20, 60 << 20):
        with Relay(empty.daemon.socket, tmp_path / f"{seen}.sock") as relay:
            running = subprocess.Popen(
                [*empty.daemon.namespace.prefix, *HEARS_SIGNALS, PROGRAM, "load", bundle],
                env=environment({**empty.env, "DOCKER_HOST": f"unix://{relay.path}"}),
                stderr=subprocess.PIPE,
                text=True,
            )
            relay.wait_for(seen)
            running.send_signal(signal.SIGINT)
            _, told = running.communicate(timeout=20)
        assert running.returncode == 130
        assert told.splitlines()[-1] == "interrupted; nothing half-written was left"
        assert "Traceback" not in told
    empty.load(bundle)


def test_the_base_image_lies_in_a_layout_that_builds_can_name(
    newest: Site, bundle: Path, lock: Lock, tmp_path: Path
) -> None:
    layout = newest.load(bundle)["layout"]
    image = lock.find("busybox")
    assert image is not None
    (tmp_path / "Dockerfile").write_text(f"FROM {image.ref.familiar}\nRUN echo hi > /greeting\n")
    context = f"{image.ref.familiar}=oci-layout://{layout}@{image.digest}"
    newest.docker(
        *("buildx", "build", "--build-context", context, "--output", tmp_path / "out", tmp_path)
    )
    assert (tmp_path / "out/greeting").read_text() == "hi\n"


def test_a_signed_bundle_is_loaded_and_its_signer_told(
    newest: Site, keys: Keys, tmp_path: Path
) -> None:
    bundle = make_two(tmp_path / "b", SIGNED)
    key = keys.make("ann")
    sign_bundle(bundle, key, SshKeygen.find(keys.environ), pytest.fail)
    demand = ("--allowed-signers", str(keys.allow(key, "ann")))
    signer = {"principal": "ann", "key": {"type": "ED25519", "fingerprint": keys.fingerprint(key)}}
    assert newest.load(bundle, *demand)["signer"] == signer
    told = newest.airgapbuild("load", bundle, *demand).stdout
    assert told.startswith(f"signed by ann (ED25519 key {keys.fingerprint(key)})\n")
    assert newest.load(bundle)["signer"] is None
