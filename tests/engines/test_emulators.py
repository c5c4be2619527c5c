"""load --binfmt: emulators that the kernel of this machine gets, and loses again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engines.bundles import make_bundle
from tests.engines.daemon import BOOTING, Daemon
from tests.engines.site import Site
from tests.support.program import document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreshDaemon
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry

# Whether the kernel has an emulator is what doctor looks at, too.
pytestmark = pytest.mark.xdist_group("tests/engines/test_doctor.py")

BINFMT = "tonistiigi/binfmt:latest"
MANIFEST = """\
version = 1
name = "builders"
platforms = ["linux/amd64"]

[images.emulators]
ref = "{ref}"
role = "binfmt"

[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""
_MOUNT = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && echo mounted && cat"


@pytest.fixture(scope="module")
def shipped(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = MANIFEST.format(ref=BINFMT, registry=registry.address)
    return make_bundle(tmp_path_factory.mktemp("shipped"), text)


@pytest.fixture(scope="module")
def site(bed: Shelf, closed: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    with Daemon.start(bed, "28.5", "containerd", closed) as daemon:
        yield Site(daemon, home / "docker", home)


@pytest.fixture
def mounted() -> Iterator[None]:
    """binfmt_misc as systemd mounts it; what was registered goes with the mount."""
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", _MOUNT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"mounted\n"
    yield
    holder.communicate()


@pytest.mark.usefixtures("mounted")
def test_the_kernel_has_the_emulators_of_the_bundle(site: Site, shipped: Path) -> None:
    assert site.load(shipped, "--binfmt")["emulators"] == ["qemu-aarch64"]
    done = site.airgapbuild("load", "--binfmt", shipped)
    assert "the daemon's kernel runs other platforms by qemu-aarch64\n" in done.stdout
    assert not site.docker("ps", "--all", "--quiet")


def test_without_a_mount_they_are_gone_and_that_is_told(site: Site, shipped: Path) -> None:
    done = site.airgapbuild("load", "--binfmt", shipped)
    assert done.returncode == 8
    assert "the kernel forgot the emulators" in done.stderr
    assert "hint: on the daemon's machine: mount -t binfmt_misc" in done.stderr


def test_an_image_that_registers_nothing(
    site: Site, registry: Registry, busybox: str, tmp_path: Path
) -> None:
    text = MANIFEST.format(ref=f"busybox:{busybox}", registry=registry.address)
    done = site.airgapbuild("load", "--binfmt", make_bundle(tmp_path, text))
    assert done.returncode == 8
    assert "--install" in done.stderr
    assert not site.docker("ps", "--all", "--quiet")


@pytest.mark.skipif(
    ("20.10", "classic") in BOOTING, reason="this machine gives Docker 20.10 all privileges"
)
def test_a_daemon_without_the_privilege(
    fresh_daemon: FreshDaemon, shipped: Path, tmp_path: Path
) -> None:
    site = Site(fresh_daemon("20.10", "classic"), tmp_path / "docker", tmp_path)
    done = site.airgapbuild("load", "--binfmt", shipped)
    assert done.returncode == 8
    assert "unable to apply caps" in done.stderr
    assert not site.docker("ps", "--all", "--quiet")


def test_a_bundle_without_them(site: Site, bundle: Path) -> None:
    done = site.airgapbuild("load", "--json", "--binfmt", bundle)
    assert done.returncode == 7
    assert document(done)["error"]["kind"] == "bundle"
    assert "the bundle has no image of role binfmt" in done.stderr
    assert 'ref = "tonistiigi/binfmt:' in done.stderr
    assert not site.docker("image", "ls", "--quiet", "moby/buildkit")
