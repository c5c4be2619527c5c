"""`serve` in the hands of real clients: daemons, BuildKit, crane, skopeo, oras, regctl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airgapbuild.lockfile import Lock, LockedImage
from airgapbuild.oci.digest import digest_of
from tests.engines import pki
from tests.engines.daemon import Daemon, docker_config
from tests.engines.site import CONTAINER, Site
from tests.support.serving import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreshDaemon
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf


@pytest.fixture(scope="module")
def served(
    bundle: Path, closed: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """A mirror beside the daemons."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder / "log", bundle, prefix=closed.prefix) as running:
        yield running


@pytest.fixture(scope="module")
def image(lock: Lock) -> LockedImage:
    """The base image."""
    [found] = [it for it in lock.image if it.name == "busybox"]
    return found


def test_a_daemon_pulls_from_it_as_its_mirror(
    daemon: Daemon, served: Serving, image: LockedImage
) -> None:
    before = len(served.log.read_text())
    with daemon.mirrored(served.url):
        said = daemon.docker("pull", image.ref.familiar).stdout
    try:
        assert f"Digest: {image.digest}" in said
        [found] = json.loads(daemon.docker("image", "inspect", image.ref.familiar).stdout)
        locked = image.platform[0]
        assert found["Id"] in ({locked.config} if daemon.store == "classic" else {image.digest})
        asked = served.log.read_text()[before:]
        assert f"/v2/library/busybox/manifests/{image.ref.tag}" in asked
        assert '" 500 ' not in asked
    finally:
        daemon.docker("rmi", image.ref.familiar)


@pytest.mark.parametrize("daemon", [("28.5", "containerd")], indirect=True, ids="-".join)
def test_containerd_pulls_from_it_as_its_mirror(
    bed: Shelf, daemon: Daemon, served: Serving, image: LockedImage, tmp_path: Path
) -> None:
    """The daemon's own containerd, by the settings that the documentation has."""
    hosts = tmp_path / "docker.io/hosts.toml"
    hosts.parent.mkdir()
    hosts.write_text(f'[host."{served.url}"]\ncapabilities = ["pull", "resolve"]\n')
    program = bed.part("engines/28.5") / "bin/ctr"
    socket = daemon.folder / "exec/containerd/containerd.sock"
    ctr = (program, "--address", socket, "--namespace", "serve", "images")
    pull = (*ctr, "pull", "--hosts-dir", tmp_path, str(image.ref))
    done = daemon.namespace.run(pull, env=daemon.env)
    assert done.returncode == 0, done.stderr
    try:
        [_, listed] = daemon.namespace.run((*ctr, "list")).stdout.splitlines()
        assert image.digest in listed
        assert f"/v2/library/busybox/manifests/{image.ref.tag}?ns=docker.io" in (
            served.log.read_text()
        )
    finally:
        daemon.namespace.run((*ctr, "remove", "--sync", str(image.ref)))


def test_other_tools_pull_from_it(
    bed: Shelf, served: Serving, closed: Namespace, image: LockedImage, tmp_path: Path
) -> None:
    go, debian = bed.part("peers/go") / "bin", bed.part("peers/debian") / "bin"
    name = f"{served.address}/library/busybox:{image.ref.tag}"
    layouts = [tmp_path / tool for tool in ("crane", "skopeo", "oras", "regctl")]
    for command in (
        (go / "crane", "pull", "--format=oci", "--platform=linux/arm64", name, layouts[0]),
        (
            *(debian / "skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false"),
            *(f"docker://{name}", f"oci:{layouts[1]}:1"),
        ),
        (
            *(go / "oras", "cp", "--no-tty", "--from-plain-http", "--recursive"),
            *("--to-oci-layout", name, f"{layouts[2]}:1"),
        ),
        (
            *(go / "regctl", "--host", f"reg={served.address},tls=disabled"),
            *("image", "copy", "--referrers", name, f"ocidir://{layouts[3]}:1"),
        ),
    ):
        done = closed.run(command)
        assert done.returncode == 0, done.stderr
    amd, arm = image.platform
    held = [{f"sha256:{it.name}" for it in (each / "blobs/sha256").iterdir()} for each in layouts]
    assert arm.manifest in held[0]
    for blobs in held[1:]:
        assert {image.digest, amd.manifest, arm.manifest, *amd.attestations} <= blobs
    for layout, blobs in zip(layouts, held, strict=True):
        for blob in blobs:
            path = layout / "blobs/sha256" / blob.removeprefix("sha256:")
            assert digest_of(path.read_bytes()) == blob


def test_a_login_and_tls_are_those_of_any_registry(
    bed: Shelf, bundle: Path, closed: Namespace, image: LockedImage, tmp_path: Path
) -> None:
    ca = pki.authority(tmp_path)
    pair = pki.issue(ca, tmp_path)
    hashed = "$2b$04$xxxxxxxxxxxxxxxxxxxxxu"
    argv = ("perl", "-e", "print crypt($ARGV[0], $ARGV[1])", "correct horse", hashed)
    (tmp_path / "users").write_text(f"alice:{closed.run(argv).stdout}\n")
    options = ("--cert", pair.cert, "--key", pair.key, "--htpasswd", tmp_path / "users")
    crane = bed.part("peers/go") / "bin/crane"
    env = {"SSL_CERT_FILE": str(ca.cert), "DOCKER_CONFIG": str(tmp_path / "docker")}
    with serving(tmp_path / "log", *options, bundle, prefix=closed.prefix) as served:
        name = f"{served.address}/library/busybox:{image.ref.tag}"
        assert "UNAUTHORIZED" in closed.run((crane, "digest", name), env=env).stderr
        login = (crane, "auth", "login", served.address, "-u", "alice", "-p", "correct horse")
        assert closed.run(login, env=env).returncode == 0
        assert closed.run((crane, "digest", name), env=env).stdout.strip() == image.digest


def test_a_builder_is_told_of_it_by_load(
    bed: Shelf,
    fresh_daemon: FreshDaemon,
    bundle: Path,
    image: LockedImage,
    blackhole: Namespace,
    tmp_path: Path,
) -> None:
    daemon = fresh_daemon("28.5", "containerd", blackhole)
    site = Site(daemon, docker_config(bed, tmp_path / "docker", "newest"), tmp_path / "home")
    for folder in (site.home, tmp_path / "context"):
        folder.mkdir()
    (tmp_path / "context/Dockerfile").write_text(
        f"FROM {image.ref.familiar} AS one\nRUN echo built > /greeting\n"
        f"FROM busybox@{image.digest}\nCOPY --from=one /greeting /\n"
    )
    with serving(tmp_path / "log", bundle, prefix=blackhole.prefix) as served:
        site.load(bundle, "--serve", served.address)
        with blackhole.capture() as seen:
            site.docker("buildx", "build", "--output", tmp_path / "out", tmp_path / "context")
        asked = served.log.read_text()
    assert (tmp_path / "out/greeting").read_text() == "built\n"
    assert not seen.packets
    assert f"/v2/library/busybox/manifests/{image.ref.tag}?ns=docker.io" in asked
    assert "buildkit/" in asked
    assert site.airgapbuild("doctor", bundle).returncode == 0
    undone = site.airgapbuild("unload", "--cache", bundle)
    assert "stays" not in undone.stdout, undone.stdout
    assert CONTAINER not in site.docker("ps", "--all")
