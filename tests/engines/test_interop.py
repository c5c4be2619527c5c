"""The tarballs in other hands: what people use where airgapbuild is not installed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from airgapbuild.lockfile import read_lock
from tests.engines.registry import Registry
from tests.support.forgery import make_tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.lockfile import Lock, LockedPlatform
    from tests.engines.daemon import Daemon
    from tests.engines.parts.part import Shelf

TAGS = ("v0.34.2", "buildx-stable-1")
PLATFORM = "linux/amd64"


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
