"""Whole builds behind a black hole: FROM, `# syntax`, RUN and COPY --from out of the layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.bundles import make_bundle, manifest, with_frontend
from tests.engines.daemon import Daemon, docker_config
from tests.engines.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.bed import Bed
    from tests.engines.layout import Image
    from tests.engines.netns import Namespace
    from tests.engines.registry import Registry

DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM busybox:{busybox} AS one
RUN echo "built on $(uname -m)" > /greeting
FROM busybox@{digest} AS two
COPY --from=one /greeting /
RUN --mount=type=bind,from=busybox:{busybox},target=/other test -x /other/bin/busybox
FROM scratch
COPY --from=two /greeting /
COPY --from=busybox:{busybox} /bin/busybox /busybox
"""


@pytest.fixture(scope="module")
def shipped(registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a builder, a frontend and a base image."""
    folder = tmp_path_factory.mktemp("shipped")
    text = with_frontend(manifest(registry.address, busybox))
    return make_bundle(folder, text)


@pytest.fixture(scope="module")
def site(
    bed: Bed, blackhole: Namespace, shipped: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Daemon.start(bed, "28.5", "containerd", blackhole) as daemon:
        site = Site(daemon, docker_config(bed, folder / "docker", "newest"), folder / "home")
        site.home.mkdir()
        site.load(shipped)
        yield site
        site.remove_builder()


@pytest.fixture
def context(images: dict[str, Image], busybox: str, tmp_path: Path) -> Path:
    """The folder of a build that needs a frontend, two bases, one by digest, and runs something."""
    digest = images[f"library/busybox:{busybox}"].index
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE.format(busybox=busybox, digest=digest))
    return folder


def check(out: Path) -> None:
    assert (out / "greeting").read_text() == "built on x86_64\n"
    assert (out / "busybox").stat().st_size > 100_000


def test_airgapbuild_build(site: Site, context: Path, tmp_path: Path) -> None:
    with site.daemon.namespace.capture() as seen:
        done = site.airgapbuild("build", "--no-cache", "--output", tmp_path / "out", context)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out")
    assert not seen.packets


def test_flags_for_buildx(site: Site, context: Path, tmp_path: Path) -> None:
    told = site.airgapbuild("contexts")
    assert told.returncode == 0, told.stderr
    options = ["--no-cache", "--output", str(tmp_path / "out"), *told.stdout.split()]
    with site.daemon.namespace.capture() as seen:
        site.docker("buildx", "build", *options, context)
    check(tmp_path / "out")
    assert not seen.packets


def test_a_file_for_bake(site: Site, context: Path, tmp_path: Path) -> None:
    told = site.airgapbuild("contexts", "--format", "bake", "app")
    assert told.returncode == 0, told.stderr
    (tmp_path / "airgap.json").write_text(told.stdout)
    target = {"context": str(context), "output": [f"type=local,dest={tmp_path / 'out'}"]}
    (tmp_path / "bake.json").write_text(json.dumps({"target": {"app": target}}))
    with site.daemon.namespace.capture() as seen:
        files = ("-f", tmp_path / "bake.json", "-f", tmp_path / "airgap.json")
        allowed = ("--allow", f"fs.read={site.home}/.local", "--allow", f"fs={tmp_path}")
        site.docker("buildx", "bake", "--no-cache", *allowed, *files, "app")
    check(tmp_path / "out")
    assert not seen.packets


def test_an_image_that_was_not_loaded_fails_with_dockers_code(site: Site, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM never-bundled:1\n")
    done = site.airgapbuild("build", tmp_path)
    assert done.returncode == 1
    assert "never-bundled:1" in done.stderr


def test_plain_docker_build_uses_the_builder_by_env(site: Site, tmp_path: Path) -> None:
    told = site.airgapbuild("env", "--format", "dotenv")
    assert told.returncode == 0, told.stderr
    job = site.copy()  # a later step, in which buildx would look for builders elsewhere
    for line in told.stdout.splitlines():
        name, _, value = line.partition("=")
        job.daemon.env[name] = value
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    done = job.daemon.docker("build", "--output", tmp_path / "out", tmp_path, config=job.config)
    assert '"airgap" instance' in done.stderr
    assert (tmp_path / "out" / "Dockerfile").exists()
