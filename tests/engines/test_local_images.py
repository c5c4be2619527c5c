"""Images that lie in no registry: from layouts of real tools and from real daemons into bundles."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.reader import open_bundle
from airgapbuild.lockfile import read_lock
from tests.engines import layout
from tests.engines.daemon import DISTINCT, docker_config
from tests.engines.site import Site
from tests.support.program import airgapbuild

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airgapbuild.lockfile import LockedImage
    from tests.conftest import FreshDaemon
    from tests.engines.daemon import Daemon, Engine, Store
    from tests.engines.layout import Image
    from tests.engines.parts.part import Shelf

MANIFEST = """\
version = 1
name = "local"
platforms = ["linux/amd64"]
[images.own]
ref = "{ref}"
role = "tool"
tags = {tags}
"""
NAME = "corp.example/own:1"


@pytest.fixture(scope="module")
def busybox(images: dict[str, Image]) -> Image:
    return next(image for ref, image in images.items() if ref.startswith("library/busybox:1"))


def locked_and_exported(
    folder: Path, ref: str, *tags: str, env: Mapping[str, str] | None = None
) -> LockedImage:
    """Locks and exports one image; every byte of it is in the bundle and right."""
    text = MANIFEST.format(ref=ref, tags=json.dumps(tags))
    (folder / "airgapbuild.toml").write_text(text)
    for command in ("lock", "export"):
        done = airgapbuild(command, cwd=folder, env=env)
        assert done.returncode == 0, done.stderr
    [image] = read_lock(folder / "airgapbuild.lock").image
    bundle = open_bundle(folder / "bundles/local")
    bundle.check_files()
    bundle.check_image(image, image.platform[0])
    return image


def loads_as(image: LockedImage, daemon: Daemon, folder: Path, bed: Shelf) -> None:
    """Loads the bundle into a daemon that reaches nothing."""
    site = Site(daemon, docker_config(bed, folder / "config"), folder)
    site.load(folder / "bundles/local")
    expected = image.digest if daemon.store == "containerd" else image.platform[0].config
    assert site.inspect(image.names[0].familiar)["Id"] == expected


def by_skopeo(bed: Shelf, source: Path, image: Image, target: Path) -> None:
    oras = (f"{source}@{image.index}", "--to-oci-layout", f"{target}-tagged:{image.tag}")
    run(bed.part("peers/go") / "bin/oras", "cp", "--from-oci-layout", *oras)
    copied = (f"oci:{target}-tagged:{image.tag}", f"oci:{target}:{image.tag}")
    run(bed.part("peers/debian") / "bin/skopeo", "copy", "--insecure-policy", "--all", *copied)


def by_oras(bed: Shelf, source: Path, image: Image, target: Path) -> None:
    copied = (f"{source}@{image.index}", "--to-oci-layout", f"{target}:{image.tag}")
    run(bed.part("peers/go") / "bin/oras", "cp", "--from-oci-layout", *copied)


def run(*argv: str | Path) -> None:
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("spelling", ["oci-layout:{}:{}", "oci-layout://{}:{}", "oci-layout:{}"])
@pytest.mark.parametrize("write", [by_skopeo, by_oras])
def test_a_layout_of_another_tool_is_locked_and_exported(
    bed: Shelf, busybox: Image, tmp_path: Path, write: object, spelling: str
) -> None:
    assert callable(write)
    write(bed, bed.part("images/built") / "layout", busybox, tmp_path / "image")
    image = locked_and_exported(tmp_path, spelling.format("image", busybox.tag), NAME)
    amd = busybox.platforms["linux/amd64"]
    [platform] = image.platform
    assert (image.digest, platform.manifest) == (busybox.index, amd.manifest)
    assert platform.config == amd.config
    assert platform.attestations


def test_of_a_layout_with_several_images_the_tag_or_the_digest_tells_which(
    bed: Shelf, busybox: Image, tmp_path: Path
) -> None:
    folder = bed.part("images/built") / "layout"
    by_digest = locked_and_exported(tmp_path, f"oci-layout:{folder}@{busybox.index}", NAME)
    assert by_digest.digest == busybox.index
    assert by_digest.version_tag.startswith("sha256-")
    by_tag = locked_and_exported(tmp_path, f"oci-layout:{folder}:{busybox.tag}", NAME)
    assert by_tag.digest == busybox.index
    text = MANIFEST.format(ref=f"oci-layout:{folder}", tags=json.dumps([NAME]))
    (tmp_path / "airgapbuild.toml").write_text(text)
    done = airgapbuild("lock", cwd=tmp_path)
    assert done.returncode == 7
    assert f"the layout has 3 images of this name; its tags: 1.19, {busybox.tag}," in done.stderr


def test_a_layout_moved_by_a_build_waits_for_an_upgrade_and_export_tells(
    bed: Shelf, busybox: Image, tmp_path: Path
) -> None:
    by_oras(bed, bed.part("images/built") / "layout", busybox, tmp_path / "image")
    locked_and_exported(tmp_path, f"oci-layout:image:{busybox.tag}", NAME)
    shutil.rmtree(tmp_path / "image" / "blobs")
    assert airgapbuild("lock", cwd=tmp_path).returncode == 0
    assert airgapbuild("export", cwd=tmp_path).returncode == 0
    done = airgapbuild("export", "-o", tmp_path / "new", cwd=tmp_path)
    assert done.returncode == 7
    assert f"{busybox.index} is not there" in done.stderr
    assert not any((tmp_path / "new").iterdir())


def test_what_an_artifact_in_a_layout_refers_to_takes_it_along(
    bed: Shelf, busybox: Image, tmp_path: Path
) -> None:
    by_oras(bed, bed.part("images/built") / "layout", busybox, tmp_path / "image")
    (tmp_path / "sbom").write_text("sbom")
    done = subprocess.run(
        [
            *(bed.part("peers/go") / "bin/oras", "attach", "--oci-layout"),
            *("--artifact-type", "application/x", f"image:{busybox.tag}", "sbom:text/plain"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    image = locked_and_exported(tmp_path, f"oci-layout:image:{busybox.tag}", NAME)
    assert [(it.artifact_type, it.subject) for it in image.referrer] == [
        ("application/x", busybox.index)
    ]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What an image is built from, where there is no registry."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY greeting /\nCOPY Dockerfile /\n")
    (folder / "greeting").write_bytes(b"hello " * 20_000)
    return folder


def test_what_buildx_writes_as_a_layout_is_locked_exported_and_loaded(
    bed: Shelf, fresh_daemon: FreshDaemon, context: Path, tmp_path: Path
) -> None:
    daemon = fresh_daemon("28.5", "containerd")
    config = docker_config(bed, tmp_path / "buildx")
    output = f"type=oci,dest={tmp_path / 'image'},tar=false"
    options = ("--provenance=true", "--output", output)
    daemon.docker("buildx", "build", *options, context, config=config)
    image = locked_and_exported(tmp_path, "oci-layout:image", NAME)
    assert image.platform[0].attestations
    loads_as(image, daemon, tmp_path, bed)


@pytest.mark.parametrize(
    ("engine", "store"),
    [pair for pair in DISTINCT if pair[0] != "20.10"],
    ids=["-".join(pair) for pair in DISTINCT if pair[0] != "20.10"],
)
def test_what_a_daemon_built_is_locked_exported_and_loaded_elsewhere(
    bed: Shelf,
    fresh_daemon: FreshDaemon,
    context: Path,
    tmp_path: Path,
    engine: Engine,
    store: Store,
) -> None:
    builder = fresh_daemon(engine, store)
    config = docker_config(bed, tmp_path / "buildx", "0.29")
    builder.docker("buildx", "build", "--tag", NAME, context, config=config)
    env = {"DOCKER_HOST": builder.host, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    image = locked_and_exported(tmp_path, f"docker-daemon:{NAME}", env=env)
    built = json.loads(builder.docker("image", "inspect", NAME).stdout)[0]["Id"]
    assert built == (image.digest if store == "containerd" else image.platform[0].config)
    assert [name.familiar for name in image.names] == [NAME]
    assert list((tmp_path / "cache/airgapbuild").iterdir()) == []
    again = airgapbuild("export", "-o", tmp_path / "again", cwd=tmp_path, env=env)
    assert again.returncode == 0, again.stderr
    assert sums(tmp_path / "again") == sums(tmp_path / "bundles/local")
    other: Store = "classic" if store == "containerd" else "containerd"
    loads_as(image, fresh_daemon(engine, other), tmp_path, bed)


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("engine", ["26.1", "28.5", "newest"])
def test_a_daemon_that_holds_one_platform_of_an_image_gives_that_one(
    bed: Shelf, fresh_daemon: FreshDaemon, busybox: Image, tmp_path: Path, engine: Engine
) -> None:
    daemon = fresh_daemon(engine, "containerd")
    own = f"docker.io/{busybox.ref}"
    built = bed.part("images/built") / "layout"
    layout.save(built, busybox, (own,), tmp_path / "image.tar", "linux/amd64")
    daemon.docker("load", "-i", tmp_path / "image.tar")
    env = {"DOCKER_HOST": daemon.host, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    image = locked_and_exported(tmp_path, f"docker-daemon:{busybox.ref}", env=env)
    [platform] = image.platform
    assert (image.digest, platform.attestations) == (busybox.index, ())
    text = (tmp_path / "airgapbuild.toml").read_text().replace("linux/amd64", "linux/arm64")
    (tmp_path / "airgapbuild.toml").write_text(text)
    done = airgapbuild("lock", cwd=tmp_path, env=env)
    assert done.returncode == 3
    assert "has no linux/arm64; it has linux/amd64" in done.stderr


def test_an_image_that_was_built_anew_is_not_taken_for_the_locked_one(
    bed: Shelf, fresh_daemon: FreshDaemon, context: Path, tmp_path: Path
) -> None:
    builder = fresh_daemon("28.5", "containerd")
    config = docker_config(bed, tmp_path / "buildx")
    env = {"DOCKER_HOST": builder.host, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    builder.docker("buildx", "build", "--tag", NAME, context, config=config)
    first = locked_and_exported(tmp_path, f"docker-daemon:{NAME}", env=env)
    (context / "greeting").write_bytes(b"another")
    builder.docker("buildx", "build", "--tag", NAME, context, config=config)
    assert airgapbuild("lock", cwd=tmp_path, env=env).returncode == 0
    done = airgapbuild("export", "-o", tmp_path / "new", cwd=tmp_path, env=env)
    assert done.returncode == 8
    assert f"{NAME} is another image now: {first.digest} is no part of it" in done.stderr
    assert airgapbuild("lock", "--upgrade", cwd=tmp_path, env=env).returncode == 0
    assert locked_and_exported(tmp_path, f"docker-daemon:{NAME}", env=env).digest != first.digest


def test_what_a_daemon_does_not_have_or_cannot_pin_is_told(
    bed: Shelf, fresh_daemon: FreshDaemon, context: Path, tmp_path: Path
) -> None:
    old = fresh_daemon("20.10", "classic")
    env = {"DOCKER_HOST": old.host, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    text = MANIFEST.format(ref=f"docker-daemon:{NAME}", tags="[]")
    (tmp_path / "airgapbuild.toml").write_text(text)
    done = airgapbuild("lock", cwd=tmp_path, env=env)
    assert done.returncode == 8
    assert f"{NAME}: the daemon at {old.host} has no such image" in done.stderr
    old.docker("build", "--tag", NAME, context)
    done = airgapbuild("lock", cwd=tmp_path, env=env)
    assert done.returncode == 8
    assert f"{NAME}: Docker 20.10.24" in done.stderr
    assert "saves it without a manifest, so it cannot be pinned" in done.stderr
    assert "--output type=oci,dest=DIR,tar=false" in done.stderr
    assert list((tmp_path / "cache/airgapbuild").iterdir()) == []
