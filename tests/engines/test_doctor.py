"""What doctor says of real sites: whole ones, and ones that lack something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airgapbuild.doctor.daemon import check_daemon
from airgapbuild.doctor.site import look
from airgapbuild.oci.content import parse_index, parse_manifest
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.layout import Layout
from tests.engines.bundles import make_bundle, manifest, with_frontend
from tests.engines.daemon import Daemon, docker_config
from tests.engines.site import BUILDER, CONTAINER, Site
from tests.support.program import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airgapbuild.engine.daemon import Daemon as HeldDaemon
    from tests.engines.bed import Bed
    from tests.engines.netns import Namespace
    from tests.engines.registry import Registry


@pytest.fixture(scope="module")
def shipped(registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a builder, a frontend and a base image."""
    text = with_frontend(manifest(registry.address, busybox))
    return make_bundle(tmp_path_factory.mktemp("shipped"), text)


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


def findings(site: Site, *arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
    """What doctor finds."""
    done = site.airgapbuild("doctor", "--json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    found: list[dict[str, Any]] = document(done)["findings"]
    return found


def only(found: list[dict[str, Any]], area: str) -> dict[str, Any]:
    """What is not ok of an area, which is one thing."""
    [one] = [it for it in found if it["state"] != "ok" and it["check"] == area]
    return one


def test_a_loaded_site_lacks_an_emulator_alone_and_no_packet_leaves(
    site: Site, shipped: Path, blackhole: Namespace
) -> None:
    with blackhole.capture() as seen:
        found = findings(site, shipped)
    [odd] = [it for it in found if it["state"] != "ok"]
    assert odd["what"].startswith("steps for linux/arm64 do not run")
    assert '[images.binfmt]\nref = "tonistiigi/binfmt' in odd["mend"]
    said = "\n".join(it["what"] for it in found)
    assert "containerd image store" in said
    assert "runs BuildKit 0.34.2" in said
    assert "airgap0 is sealed" in said
    assert "the daemon holds buildkit" in said
    assert "busybox:" in said
    assert seen.packets == []


def test_an_emulator_in_the_builder_s_image_will_do(site: Site, tmp_path: Path) -> None:
    qemu = f"{CONTAINER}:/usr/bin/buildkit-qemu-aarch64"
    (tmp_path / "qemu").write_bytes(b"")
    site.docker("cp", tmp_path / "qemu", qemu)
    found = findings(site)
    site.docker("exec", CONTAINER, "rm", qemu.partition(":")[2])
    [emulator] = [it for it in found if it["check"] == "emulator"]
    assert "for builds alone" in emulator["what"]


def test_plain_words_and_a_lock_in_place_of_a_bundle(site: Site, shipped: Path) -> None:
    done = site.airgapbuild("doctor", shipped / "airgapbuild.lock")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       daemon     Docker 28.5.2" in done.stdout
    assert "\nwarning  emulator   steps for linux/arm64" in done.stdout


def test_a_container_made_from_something_else(site: Site) -> None:
    site.docker("rm", "--force", CONTAINER)
    image = "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2"
    site.docker("create", "--name", CONTAINER, image)
    found = findings(site, code=9)
    site.docker("rm", CONTAINER)
    assert "made from another image or other settings" in only(found, "builder")["what"]


def test_another_lock(site: Site, shipped: Path, tmp_path: Path) -> None:
    """As after a new bundle that nobody has loaded."""
    lock = (shipped / "airgapbuild.lock").read_text()
    (tmp_path / "new.lock").write_text(lock.replace("max-parallelism = 4", "max-parallelism = 5"))
    found = findings(site, tmp_path / "new.lock", code=9)
    assert "written from another lock" in only(found, "builder")["what"]


def test_images_that_the_daemon_and_the_layout_lack(site: Site, shipped: Path) -> None:
    tag = "moby/buildkit:buildx-stable-1"
    site.docker("image", "rm", tag)
    layout = site.home / ".local/share/airgapbuild/layout"
    index = (layout / "index.json").read_bytes()
    (layout / "index.json").write_text('{"manifests": []}')
    found = findings(site, shipped, code=7)
    (layout / "index.json").write_bytes(index)
    site.load(shipped)
    assert f"the daemon lacks {tag}" in only(found, "images")["what"]
    lacking = [it for it in found if it["check"] == "layout"]
    assert len(lacking) == 2
    assert lacking[0]["mend"] == f"airgapbuild load {shipped}"


def test_a_home_in_which_nothing_was_loaded(site: Site, bed: Bed, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    fresh = Site(site.daemon, docker_config(bed, tmp_path / "docker", "newest"), home)
    assert only(findings(fresh), "builder")["what"].startswith("no builder is chosen")


def test_a_builder_of_the_same_name_that_somebody_else_made(
    site: Site, shipped: Path, bed: Bed, tmp_path: Path
) -> None:
    other = Site(site.daemon, docker_config(bed, tmp_path / "docker", "newest"), tmp_path / "home")
    other.home.mkdir()
    other.docker("buildx", "create", "--name", BUILDER)
    mend = only(findings(other, shipped, code=9), "builder")["mend"]
    assert mend == f"docker buildx rm {BUILDER}; airgapbuild load {shipped}"
    other.docker("buildx", "rm", BUILDER)
    other.load(shipped)
    assert only(findings(other, shipped), "emulator")


def failed(site: Site, folder: Path, dockerfile: str, *options: str, bare: bool = False) -> Path:
    """The log of a build that fails."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile)
    if bare:
        done = site.daemon.docker(
            "buildx", "build", *options, folder, config=site.config, check=False
        )
    else:
        done = site.airgapbuild("build", *options, folder)
    assert done.returncode == 1, done.stderr
    (folder / "build.log").write_text(done.stderr)
    return folder / "build.log"


def test_builds_that_fail_are_explained(site: Site, busybox: str, tmp_path: Path) -> None:
    base = f"FROM busybox:{busybox}\n"
    absent = failed(site, tmp_path / "1", "FROM nothere:1\n")
    frontend = failed(site, tmp_path / "2", "# syntax=docker/dockerfile:1.7\nFROM scratch\n")
    passed_by = failed(site, tmp_path / "3", base, bare=True)
    foreign = failed(site, tmp_path / "4", f"{base}RUN true\n", "--platform=linux/arm64")
    platform = failed(site, tmp_path / "5", base, "--platform=linux/s390x")
    outside = failed(site, tmp_path / "6", "FROM scratch\nADD http://a.example/b /\n")

    def told(log: Path, code: int) -> dict[str, Any]:
        return only(findings(site, "--log", log, code=code), "build")

    assert "nothere:1 is not in" in told(absent, 7)["what"]
    missing = told(frontend, 7)
    assert missing["what"].endswith("which has docker/dockerfile:1, docker/dockerfile:1.19")
    assert missing["mend"].startswith(
        '[images.dockerfile]\nref = "docker/dockerfile:1.7"\nrole = "frontend"\n'
    )
    assert "but the build did not look there" in told(passed_by, 9)["what"]
    assert "a program of another platform" in told(foreign, 9)["what"]
    assert "for linux/amd64, linux/arm64 only" in told(platform, 7)["what"]
    assert "fetches from outside" in told(outside, 9)["what"]


def a_layer(layout: Layout, name: str) -> Path:
    """Where a layer of an image lies that this machine builds from."""
    [top] = [digest for it, digest in layout.images().items() if it.familiar == name]
    index = layout.document(top)
    assert index
    [manifest] = [
        layout.document(it.digest)
        for platform, it in parse_index(index, name).platforms
        if str(platform) == "linux/amd64"
    ]
    assert manifest
    return layout.blob_path(parse_manifest(manifest, name).layers[0].digest)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (Path.unlink, "{} lacks sha256:{}, which "),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "{}: sha256:{} is damaged"),
    ],
    ids=["gone", "damaged"],
)
def test_a_layer_that_builds_do_not_get_is_mended_by_load(
    site: Site,
    shipped: Path,
    busybox: str,
    tmp_path: Path,
    damage: Callable[[Path], object],
    what: str,
) -> None:
    site.remove_builder()
    layout = Layout(site.home / ".local/share/airgapbuild/layout")
    layer = a_layer(layout, f"busybox:{busybox}")
    damage(layer)
    text = f"FROM busybox:{busybox}\nRUN true\n"
    log = failed(site, tmp_path / "1", text)
    found = findings(site, shipped, "--log", log, code=7)
    [told] = [it for it in found if it["check"] == "build"]
    assert told["what"].startswith(what.format(layout.path, layer.name))
    assert told["mend"] == f"airgapbuild load {shipped}"
    site.load(shipped)
    assert digest_of(layer.read_bytes()) == f"sha256:{layer.name}"
    assert site.airgapbuild("build", tmp_path / "1").returncode == 0


def test_why_a_daemon_has_its_store(daemon: Daemon, held: HeldDaemon) -> None:
    site = look(daemon.env, Layout(daemon.folder / "layout"), daemon.folder, seconds=30)
    _, store = check_daemon(replace(site, daemon=held))
    reason = {
        ("newest", "classic"): "as after an upgrade",
        ("26.1", "containerd"): "its daemon.json asks for it",
        ("28.5", "containerd"): "its daemon.json asks for it",
    }.get((daemon.engine, daemon.store), "what this version takes for a fresh data root")
    assert store.what.startswith(f"{daemon.store} image store: {reason}")


def test_tls_by_environment(tls_daemon: Daemon, bed: Bed, tmp_path: Path) -> None:
    site = Site(tls_daemon, docker_config(bed, tmp_path / "docker", "newest"), tmp_path)
    said = [it["what"] for it in findings(site)]
    assert any("as in GitLab's dind" in it for it in said)
