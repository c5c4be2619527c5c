"""Whole builds behind a black hole, on every engine and store, and not one packet leaves.

FROM, `# syntax`, COPY --from and RUN --mount come out of the layout, for two architectures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOM_MB
from tests.engines.bundles import make_bundle, site_manifest
from tests.engines.daemon import BOOTING, PAIRS, Buildx, Daemon, Engine, Store, docker_config
from tests.engines.site import Site
from tests.engines.whole_build import PLATFORMS, check, write_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.layout import Image
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import Registry

BUILDX: dict[Engine, Buildx] = {"26.1": "0.13", "28.5": "0.29"}
"""Those that Debian has beside these engines; with the others goes the newest."""

ONE = ("28.5", "containerd")
SITES = sorted(BOOTING, key=lambda pair: pair != ONE)
"""ONE is the first here as in `on_one`: pytest runs together what has the same number."""


@pytest.fixture(scope="module")
def shipped(registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a builder, a frontend and two base images."""
    return make_bundle(tmp_path_factory.mktemp("shipped"), site_manifest(registry.address, busybox))


def make_site(bed: Shelf, daemon: Daemon, folder: Path) -> Site:
    (folder / "home").mkdir()
    buildx = BUILDX.get(daemon.engine, "newest")
    return Site(daemon, docker_config(bed, folder / "docker", buildx), folder / "home")


@pytest.fixture(scope="module", params=SITES, ids="-".join)
def site(
    request: pytest.FixtureRequest,
    bed: Shelf,
    blackhole: Namespace,
    shipped: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A site where the bundle was loaded; nothing leaves it before or while the tests run."""
    engine, store = request.param
    with (
        Daemon.start(bed, engine, store, blackhole, data_size_mb=ROOM_MB) as daemon,
        blackhole.capture() as seen,
    ):
        site = make_site(bed, daemon, tmp_path_factory.mktemp("site"))
        site.load(shipped)
        yield site
        site.remove_builder()
    assert seen.packets == []


on_one = pytest.mark.parametrize("site", [ONE], indirect=True, ids="-".join, scope="module")


@pytest.fixture
def context(images: dict[str, Image], tmp_path: Path) -> Path:
    return write_context(tmp_path / "context", images)


def test_airgapbuild_build(site: Site, context: Path, tmp_path: Path) -> None:
    options = ("--no-cache", "--platform", PLATFORMS, "--output", tmp_path / "out")
    done = site.airgapbuild("build", *options, context)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out")


def test_flags_for_buildx(site: Site, context: Path, tmp_path: Path) -> None:
    told = site.airgapbuild("contexts")
    assert told.returncode == 0, told.stderr
    options = ("--no-cache", "--platform", PLATFORMS, "--output", tmp_path / "out")
    site.docker("buildx", "build", *options, *told.stdout.split(), context)
    check(tmp_path / "out")


def test_a_file_for_bake(site: Site, context: Path, tmp_path: Path) -> None:
    told = site.airgapbuild("contexts", "--format", "bake", "app")
    assert told.returncode == 0, told.stderr
    (tmp_path / "airgap.json").write_text(told.stdout)
    output = f"type=local,dest={tmp_path / 'out'}"
    target = {"context": str(context), "output": [output], "platforms": PLATFORMS.split(",")}
    (tmp_path / "bake.json").write_text(json.dumps({"target": {"app": target}}))
    files = ("-f", tmp_path / "bake.json", "-f", tmp_path / "airgap.json")
    allowed = ("--allow", f"fs.read={site.home}/.local", "--allow", f"fs={tmp_path}")
    asks = BUILDX.get(site.daemon.engine) != "0.13"  # an older bake reads what it likes
    site.docker("buildx", "bake", "--no-cache", *(allowed if asks else ()), *files, "app")
    check(tmp_path / "out")


@on_one
def test_an_image_that_was_not_loaded_fails_with_dockers_code(site: Site, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM never-bundled:1\n")
    done = site.airgapbuild("build", tmp_path)
    assert done.returncode == 1
    assert "never-bundled:1" in done.stderr


@on_one
def test_a_layout_is_read_through_a_link_where_buildx_would_cut_its_path(
    site: Site, busybox: str, tmp_path: Path
) -> None:
    layout = next(site.home.rglob("oci-layout")).parent
    odd = Path(shutil.copytree(layout, tmp_path / "job@2:3" / "layout"))
    (tmp_path / "Dockerfile").write_text(f"FROM busybox:{busybox}\nRUN true\n")
    done = site.airgapbuild("build", "--layout", odd, tmp_path)
    assert done.returncode == 2
    assert "buildx would cut the layout's path at its '@'" in done.stderr
    (tmp_path / "link").symlink_to(odd)
    done = site.airgapbuild("build", "--layout", tmp_path / "link", tmp_path)
    assert done.returncode == 0, done.stderr


@on_one
def test_a_load_into_a_layout_that_no_build_could_read_is_refused(
    site: Site, shipped: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "job@2"
    done = site.airgapbuild("load", "--layout", odd, shipped)
    assert done.returncode == 2
    assert "buildx would cut the layout's path at its '@'" in done.stderr
    assert not odd.exists()


@on_one
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


@pytest.mark.parametrize(("engine", "store"), sorted(set(PAIRS) - set(BOOTING)))
def test_where_no_builder_boots_the_layout_is_filled_without_a_packet(
    bed: Shelf,
    blackhole: Namespace,
    shipped: Path,
    busybox: str,
    tmp_path: Path,
    engine: Engine,
    store: Store,
) -> None:
    with (
        Daemon.start(bed, engine, store, blackhole, data_size_mb=ROOM_MB) as daemon,
        blackhole.capture() as seen,
    ):
        site = make_site(bed, daemon, tmp_path)
        layout = site.load(shipped, "--no-boot")["layout"]
        told = site.airgapbuild("contexts")
        assert f"busybox:{busybox}=oci-layout://{layout}@sha256:" in told.stdout, told.stderr
    assert seen.packets == []


def test_over_tls_by_the_environment_alone(
    tls_daemon: Daemon, bed: Shelf, shipped: Path, context: Path, tmp_path: Path
) -> None:
    site = make_site(bed, tls_daemon, tmp_path)
    try:
        site.load(shipped)
        options = ("--platform", PLATFORMS, "--output", tmp_path / "out")
        done = site.airgapbuild("build", *options, context)
        assert done.returncode == 0, done.stderr
        check(tmp_path / "out")
    finally:
        site.remove_builder()
