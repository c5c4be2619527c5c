"""install.sh on real engines that reach nothing: it leaves what `airgapbuild load` leaves."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engines.daemon import BOOTING, docker_config
from tests.engines.site import BUILDER, CONTAINER, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.lockfile import Lock
    from tests.engines.daemon import Buildx, Daemon
    from tests.engines.parts.part import Shelf


@pytest.fixture
def site(daemon: Daemon, buildx: Buildx, bed: Shelf, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "home").mkdir()
    site = Site(daemon, docker_config(bed, tmp_path / "config", buildx), tmp_path / "home")
    site.remove_builder()
    for name in site.docker("image", "ls", "--quiet").split():
        site.daemon.docker("image", "rm", "--force", name, check=False)
    yield site
    site.remove_builder()


def install(site: Site, shell: Path, bundle: Path, *options: str) -> str:
    """Runs it in busybox; what it says."""
    done = subprocess.run(
        [*site.daemon.namespace.prefix, shell, "sh", bundle / "install.sh", *options],
        env=site.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("daemon", "buildx"),
    [
        (("20.10", "classic"), "newest"),
        (("26.1", "containerd"), "0.13"),
        (("28.5", "classic"), "0.29"),
        (("28.5", "containerd"), "newest"),
    ],
    indirect=True,
    ids=["20.10", "26.1-containerd", "28.5-classic", "28.5-containerd"],
)
def test_it_leaves_what_load_leaves(
    site: Site, bed: Shelf, bundle: Path, lock: Lock, tmp_path: Path
) -> None:
    boots = (site.daemon.engine, site.daemon.store) in BOOTING
    shell = bed.part("shells") / "busybox"
    said = install(site, shell, bundle, *([] if boots else ["--no-builder"]))
    for image in lock.image:
        wanted = image.digest if site.daemon.store == "containerd" else image.platform[0].config
        for name in image.names:
            assert f"Loaded image: {name.familiar}\n" in said
            assert site.inspect(name.familiar)["Id"] == wanted
    if boots:
        assert "BuildKit v0.34.2, and is the current one" in said
        assert f"{BUILDER}*" in site.docker("buildx", "ls").replace(" *", "*")
        assert site.build(tmp_path / "work") == b"hello from behind the gap\n"
        container = site.inspect(CONTAINER)["Id"]
        assert install(site, shell, bundle) == said
        assert site.inspect(CONTAINER)["Id"] == container
    loaded = site.load(bundle, "--no-boot")
    actions = {image["name"]: image["action"] for image in loaded["images"]}
    assert actions["buildkit"] == "present"
    if boots:
        assert loaded["builder"]["changed"] is False
        assert site.inspect(CONTAINER)["Id"] == container


@pytest.mark.parametrize(("daemon", "buildx"), [(("28.5", "containerd"), "newest")], indirect=True)
def test_a_tarball_is_a_layout_for_builds(
    site: Site, bed: Shelf, bundle: Path, lock: Lock, tmp_path: Path
) -> None:
    said = install(site, bed.part("shells") / "busybox", bundle)
    image = lock.find("busybox")
    assert image is not None
    assert "cat TARBALL | zstd -dc | tar -xC DIR" in said
    assert "--build-context NAME=oci-layout://DIR@DIGEST" in said
    [tarball] = bundle.glob("busybox_*_linux-amd64.oci.tar.zst")
    (tmp_path / "layout").mkdir()
    unpack = 'cat "$0" | zstd -dc | tar -xC "$1"'
    subprocess.run(["sh", "-c", unpack, tarball, tmp_path / "layout"], check=True)
    (tmp_path / "Dockerfile").write_text(f"FROM {image.ref.familiar}\nRUN echo hi > /greeting\n")
    context = f"{image.ref.familiar}=oci-layout://{tmp_path}/layout@{image.digest}"
    site.docker(
        *("buildx", "build", "--build-context", context, "--output", tmp_path / "out", tmp_path)
    )
    assert (tmp_path / "out/greeting").read_text() == "hi\n"
