"""The commands that need no daemon and no network, where there is neither."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engines.netns import Namespace
from tests.support.program import airgapbuild, document

NO_DOCKER = ("env", "PATH=/nowhere", "DOCKER_HOST=tcp://192.0.2.1:2375")


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "b"))


def test_a_real_bundle_is_verified(bundle: Path, closed: Namespace) -> None:
    done = airgapbuild("verify", "--json", bundle, prefix=(*closed.prefix, *NO_DOCKER))
    assert done.returncode == 0, done.stderr
    told = document(done)
    assert told["whole"]
    assert {file["state"] for file in told["files"]} == {"ok"}


def test_a_real_tarball_with_one_wrong_bit_is_found(copy: Path, closed: Namespace) -> None:
    path = max(copy.iterdir(), key=lambda path: path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    done = airgapbuild("verify", "--json", copy, prefix=(*closed.prefix, *NO_DOCKER))
    assert done.returncode == 6
    assert document(done)["fetch"] == [path.name]


def test_a_real_bundle_is_inspected_whole_and_in_parts(bundle: Path, closed: Namespace) -> None:
    tarball = next(bundle.glob("buildkit_*_linux-amd64.oci.tar.zst"))
    for path in (bundle, tarball, bundle / "airgapbuild.lock"):
        done = airgapbuild("inspect", "--json", path, prefix=(*closed.prefix, *NO_DOCKER))
        assert done.returncode == 0, done.stderr
        names = [name for image in document(done)["images"] for name in image["names"]]
        assert "docker.io/moby/buildkit:v0.34.2" in names


def test_a_real_bundle_does_not_differ_from_its_lock(bundle: Path, closed: Namespace) -> None:
    argv = ("diff", "--json", bundle, bundle / "airgapbuild.lock")
    done = airgapbuild(*argv, prefix=(*closed.prefix, *NO_DOCKER))
    assert done.returncode == 0, done.stderr
    assert document(done)["changed"] is False
