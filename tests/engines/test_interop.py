"""The tarballs in other hands: what people use where airgapbuild is not installed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.reader import open_bundle
from airgapbuild.export import export
from airgapbuild.lockfile import read_lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.engines.daemon import Daemon
from tests.engines.registry import Registry
from tests.support.forgery import COMPACT, TEXT, make_tiny
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.lockfile import Lock, LockedPlatform
    from airgapbuild.oci.image import PlatformImage
    from tests.engines.parts.part import Shelf

TAGS = ("v0.34.2", "buildx-stable-1")
PLATFORM = "linux/amd64"
WINDOW = 128 << 20
"""The longest that a zstd decoder takes without being told."""


@pytest.fixture(scope="module")
def compressed(bundle: Path) -> Path:
    """The builder image's tarball for this machine, as it lies in the bundle."""
    return next(bundle.glob("buildkit_*_linux-amd64.oci.tar.zst"))


@pytest.fixture(scope="module")
def tarball(compressed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after `zstd -d`."""
    plain = tmp_path_factory.mktemp("plain") / "image.tar"
    subprocess.run(["zstd", "-dq", "-o", plain, compressed], check=True)
    return plain


@dataclass(frozen=True)
class Packed:
    """A small image's tarball, exact or compact, and what must come out of it."""

    compressed: Path
    tarball: Path
    documents: PlatformImage

    @property
    def top(self) -> str:
        return self.documents.top.descriptor.digest

    @property
    def manifest(self) -> str:
        return self.documents.manifest.descriptor.digest

    @property
    def config(self) -> str:
        return self.documents.config.descriptor.digest


@pytest.fixture(scope="module", params=["exact", "compact"])
def packed(
    request: pytest.FixtureRequest,
    bundle: Path,
    compact_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Packed:
    opened = open_bundle(bundle if request.param == "exact" else compact_bundle)
    image = opened.lock.find("busybox")
    assert image is not None
    locked = next(it for it in image.platform if str(it.platform) == PLATFORM)
    file = opened.index.tarball(image.name, locked.platform)
    assert file is not None
    plain = tmp_path_factory.mktemp("packed") / "image.tar"
    compressed = opened.folder / file.name
    subprocess.run(["zstd", "-dq", "-o", plain, compressed], check=True)
    return Packed(compressed, plain, opened.image(image, locked))


@pytest.fixture(scope="module")
def pushed_to(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed, empty=True, writable=True) as running:
        yield running


@pytest.fixture(scope="module")
def locked(lock: Lock) -> LockedPlatform:
    image = lock.find("buildkit")
    assert image is not None
    return image.platform[0]


def peer(bed: Shelf, *command: str | Path) -> str:
    """What another tool prints."""
    folders = (bed.part("peers/go") / "bin", bed.part("peers/debian") / "bin")
    path = os.pathsep.join((*map(str, folders), os.environ["PATH"]))
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an image that no other test loads: shared daemons do not hold it yet."""
    return make_tiny(tmp_path_factory.mktemp("small") / "b")


def test_docker_load_gives_the_locked_image_under_every_name(daemon: Daemon, small: Path) -> None:
    [tarball] = small.glob("*_linux-amd64.oci.tar.zst")
    [image] = read_lock(small / "airgapbuild.lock").image
    if daemon.engine == "20.10":  # it does not know zstd
        plain = subprocess.run(["zstd", "-dcq", tarball], check=True, capture_output=True).stdout
        daemon.docker("load", stdin=plain)
    else:
        daemon.docker("load", "-i", tarball)
    expected = image.digest if daemon.store == "containerd" else image.platform[0].config
    assert len(image.names) == 3
    for name in image.names:
        [found] = json.loads(daemon.docker("image", "inspect", name.familiar).stdout)
        assert found["Id"] == expected


@pytest.mark.parametrize("tag", TAGS)
def test_skopeo_copies_the_locked_manifest(
    bed: Shelf, tarball: Path, locked: LockedPlatform, tmp_path: Path, tag: str
) -> None:
    source, target = f"oci-archive:{tarball}:{tag}", f"dir:{tmp_path}/copied"
    peer(bed, "skopeo", "copy", "--insecure-policy", source, target)
    raw = (tmp_path / "copied" / "manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == locked.manifest


@pytest.mark.parametrize("tag", TAGS)
def test_oras_pushes_the_locked_manifest(
    bed: Shelf, tarball: Path, locked: LockedPlatform, pushed_to: Registry, tag: str
) -> None:
    target = f"{pushed_to.address}/oras/buildkit:{tag}"
    source = ("--from-oci-layout", f"{tarball}:{tag}", "--platform", PLATFORM)
    peer(bed, "oras", "cp", *source, "--to-plain-http", target)
    assert peer(bed, "crane", "digest", "--insecure", target).strip() == locked.manifest


def test_crane_pushes_the_locked_config_and_layers_in_a_manifest_of_its_own(
    bed: Shelf, tarball: Path, locked: LockedPlatform, pushed_to: Registry
) -> None:
    target = f"{pushed_to.address}/crane/buildkit:v0.34.2"
    peer(bed, "crane", "push", "--insecure", tarball, target)
    manifest = json.loads(peer(bed, "crane", "manifest", "--insecure", target))
    assert manifest["config"]["digest"] == locked.config
    assert sum(layer["size"] for layer in manifest["layers"]) == locked.layers_size


def test_skopeo_oras_and_crane_take_both_forms(
    bed: Shelf, packed: Packed, pushed_to: Registry, busybox: str, tmp_path: Path
) -> None:
    source = f"{packed.tarball}:{busybox}"
    peer(bed, "skopeo", "copy", "--insecure-policy", f"oci-archive:{source}", f"dir:{tmp_path}/d")
    raw = (tmp_path / "d" / "manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == packed.manifest

    target = f"{pushed_to.address}/both/busybox"
    options = ("--from-oci-layout", source, "--platform", PLATFORM, "--to-plain-http")
    peer(bed, "oras", "cp", *options, f"{target}:oras")
    digest = peer(bed, "crane", "digest", "--insecure", f"{target}:oras").strip()
    assert digest == packed.manifest

    peer(bed, "crane", "push", "--insecure", packed.tarball, f"{target}:crane")
    manifest = json.loads(peer(bed, "crane", "manifest", "--insecure", f"{target}:crane"))
    assert manifest["config"]["digest"] == packed.config


@pytest.mark.parametrize("unpacked", [False, True], ids=["as it is", "after zstd -d"])
def test_ctr_imports_the_image_under_its_name(
    bed: Shelf, tls_daemon: Daemon, packed: Packed, busybox: str, unpacked: bool
) -> None:
    def ctr(*command: str | Path) -> str:
        socket = tls_daemon.folder / "exec" / "containerd" / "containerd.sock"
        program = bed.part("engines/28.5") / "bin" / "ctr"
        return peer(bed, program, "--address", socket, "--namespace", "interop", *command)

    name = f"docker.io/library/busybox:{busybox}"
    ctr("images", "import", packed.tarball if unpacked else packed.compressed)
    try:
        [_, listed] = ctr("images", "list", f"name=={name}").splitlines()
        assert listed.split()[2] == packed.top
    finally:
        ctr("images", "remove", "--sync", name)


def test_podman_loads_the_locked_config(bed: Shelf, packed: Packed) -> None:
    assert podman_load(bed, packed.compressed) == packed.config


def test_podman_takes_the_long_window(bed: Shelf, tmp_path: Path) -> None:
    source = MemorySource()
    source.publish("tool:1", "linux/amd64", layers=(bytes(WINDOW + 1),))
    lock = resolve(parse_manifest(TEXT.encode(), "m", folder=tmp_path), source)
    exported = export(lock, source, tmp_path, packaging=COMPACT)
    [tarball] = [tmp_path / file.name for file in exported.index.files if file.image]
    said = subprocess.run(["zstd", "-lv", tarball], check=True, capture_output=True).stdout
    assert f"({WINDOW} B)" in said.decode()
    assert podman_load(bed, tarball) == lock.image[0].platform[0].config


def podman_load(bed: Shelf, tarball: Path) -> str:
    """The ID of the one image in a fresh storage after a load."""
    # Podman refuses a --runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="bed-podman-") as folder:
        storage = ("--root", f"{folder}/root", "--runroot", f"{folder}/run")
        podman = ("podman", *storage, "--storage-driver", "vfs")
        peer(bed, *podman, "load", "-i", tarball)
        return peer(bed, *podman, "images", "--no-trunc", "--format", "{{.ID}}").strip()
