"""The bed does what it says: each engine starts, each registry serves. See test_flow for boots."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import layout
from tests.engines.daemon import BUILDX, Buildx, Daemon
from tests.engines.registry import USER, Registry

if TYPE_CHECKING:
    from tests.conftest import FreshDaemon
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

REPOSITORY = Path(__file__).parents[2]
VERSIONS = {"20.10": "20.10.", "26.1": "26.1.", "28.5": "28.5.", "newest": "2.0.0-beta.24"}
BUILDKIT = "moby/buildkit:v0.34.2"
INDEX = "application/vnd.oci.image.index.v1+json"
SEALED = "127.0.0.1:1/airgapbuild/buildkit:v0.34.2"


def get(url: str, ca: Path | None = None, **headers: str) -> bytes:
    context = ssl.create_default_context(cafile=ca) if ca else None
    request = urllib.request.Request(url, headers={"Accept": INDEX, **headers})
    try:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        error.close()  # its headers stay
        raise


def basic(user: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(user).encode()).decode()


def test_an_engine_has_its_version_and_its_store(daemon: Daemon) -> None:
    said = daemon.docker("info", "--format", "{{.ServerVersion}} {{.DriverStatus}}").stdout
    assert said.startswith(VERSIONS[daemon.engine])
    assert ("io.containerd.snapshotter.v1" in said) == (daemon.store == "containerd")


@pytest.mark.parametrize("version", BUILDX)
def test_buildx_has_its_version(bed: Shelf, version: Buildx) -> None:
    plugin = bed.part(f"buildx/{version}") / "docker-buildx"
    said = subprocess.run([plugin, "version"], capture_output=True, text=True, check=True).stdout
    assert {"newest": "v0.38.2"}.get(version, version) in said


def test_the_registry_serves_what_the_images_say(
    registry: Registry, images: dict[str, layout.Image]
) -> None:
    for image in images.values():
        body = get(f"http://{registry.address}/v2/{image.repository}/manifests/{image.tag}")
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == image.index
        assert set(image.platforms) == {"linux/amd64", "linux/arm64"}
        for platform in image.platforms.values():
            get(f"http://{registry.address}/v2/{image.repository}/blobs/{platform.config}")


def test_the_builder_image_has_attestations(bed: Shelf, images: dict[str, layout.Image]) -> None:
    index = layout.read(bed.part("images/built") / "layout", images[BUILDKIT].index)
    kinds = [e.get("annotations", {}).get("vnd.docker.reference.type") for e in index["manifests"]]
    assert kinds == [None, None, "attestation-manifest", "attestation-manifest"]


def test_a_registry_with_passwords_wants_one(htpasswd_registry: Registry) -> None:
    url = f"http://{htpasswd_registry.address}/v2/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(url)
    assert get(url, Authorization=basic(USER)) == b"{}"


def test_a_registry_with_tls_is_trusted_by_its_own_authority(tls_registry: Registry) -> None:
    url = f"https://{tls_registry.address}/v2/"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(url)
    assert get(url, ca=tls_registry.ca) == b"{}"


def test_a_registry_with_tokens_takes_those_of_its_server(token_registry: Registry) -> None:
    url = f"http://{token_registry.address}/v2/moby/buildkit/tags/list"
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        get(url)
    challenge = refused.value.headers["WWW-Authenticate"].removeprefix("Bearer ")
    asked = dict(pair.split("=", 1) for pair in challenge.split(",", 2))
    realm, service, scope = (asked[key].strip('"') for key in ("realm", "service", "scope"))
    token = json.loads(get(f"{realm}?service={service}&scope={scope}"))["token"]
    assert "v0.34.2" in get(url, Authorization=f"Bearer {token}").decode()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(realm, Authorization=basic(("mallory", "guess")))


def test_a_push_leaves_the_bed_alone(
    bed: Shelf, writable_registry: Registry, registry: Registry, images: dict[str, layout.Image]
) -> None:
    mine = writable_registry.address
    crane = bed.part("peers/go") / "bin/crane"
    names = (f"{mine}/docker/dockerfile:1", f"{mine}/library/busybox:latest")
    subprocess.run((crane, "copy", "--insecure", *names), check=True, capture_output=True)
    now = hashlib.sha256(get(f"http://{mine}/v2/library/busybox/manifests/latest")).hexdigest()
    assert f"sha256:{now}" == images["docker/dockerfile:1"].index
    was = get(f"http://{registry.address}/v2/library/busybox/manifests/latest")
    assert f"sha256:{hashlib.sha256(was).hexdigest()}" == images["library/busybox:latest"].index


def test_a_daemon_pulls_from_a_registry_in_its_namespace_and_runs(
    bed: Shelf, daemon: Daemon, closed: Namespace
) -> None:
    with Registry.start(bed, namespace=closed) as inside:
        name = f"{inside.address}/library/busybox:latest"
        assert daemon.docker("run", "--rm", "--network=none", name, "echo", "hi").stdout == "hi\n"
    daemon.docker("image", "rm", name)


@pytest.fixture(scope="session")
def tarball(
    bed: Shelf, images: dict[str, layout.Image], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("load") / "buildkit.tar"
    names = (SEALED, f"docker.io/{BUILDKIT}")
    source = bed.part("images/built") / "layout"
    layout.save(source, images[BUILDKIT], names, target, "linux/amd64")
    return target


def test_tls_in_the_environment_reaches_the_daemon(fresh_daemon: FreshDaemon) -> None:
    daemon = fresh_daemon("28.5", "containerd", tls=True)
    assert daemon.env["DOCKER_TLS_VERIFY"] == "1"
    said = daemon.docker("version", "--format", "{{.Server.Version}}").stdout
    assert said.startswith("28.5.")


def test_a_small_daemon_runs_full(fresh_daemon: FreshDaemon, tarball: Path) -> None:
    daemon = fresh_daemon("28.5", "classic", data_size_mb=100)
    done = daemon.docker("load", "-i", tarball, check=False)
    assert "no space left on device" in done.stdout + done.stderr
    assert any(daemon.data_root.iterdir())


def test_a_closed_namespace_refuses_at_once(closed: Namespace) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 443), timeout=5)"
    done = closed.run(["python3", "-c", code])
    assert "Network is unreachable" in done.stderr


def test_a_black_hole_swallows_and_counts(blackhole: Namespace) -> None:
    look_up = "import socket; socket.setdefaulttimeout(.1); socket.create_connection(('{}', 443))"
    with blackhole.capture() as quiet:
        blackhole.run(["true"])
    assert quiet.packets == []
    with blackhole.capture() as seen:
        assert (
            "timed out" in blackhole.run(["python3", "-c", look_up.format("198.51.100.1")]).stderr
        )
    assert any("198.51.100.1.443" in packet for packet in seen.packets)


def test_a_name_goes_into_the_black_hole_too(blackhole: Namespace) -> None:
    with blackhole.capture() as seen:
        blackhole.run(["timeout", "0.3", "getent", "hosts", "registry.example"])
    assert any("203.0.113.53.53" in packet for packet in seen.packets)


def test_the_host_keeps_its_own_resolver(closed: Namespace) -> None:
    before = Path("/etc/resolv.conf").read_text()
    inside = closed.run(["cat", "/etc/resolv.conf"]).stdout
    assert inside == "nameserver 203.0.113.53\n" != before
    assert Path("/etc/resolv.conf").read_text() == before


def leftovers(folder: Path) -> list[bytes]:
    """Return the command lines of all processes that know the folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            lines.append((process / "cmdline").read_bytes())
    return [line for line in lines if str(folder).encode() in line]


def test_a_stopped_daemon_leaves_nothing(fresh_daemon: FreshDaemon, tarball: Path) -> None:
    daemon = fresh_daemon("28.5", "containerd", data_size_mb=1000)
    daemon.docker("load", "-i", tarball)
    assert leftovers(daemon.folder)
    daemon.stop()
    assert not daemon.folder.exists()
    assert not leftovers(daemon.folder)


def test_a_killed_test_leaves_no_process(bed: Shelf) -> None:
    bed.part("engines/28.5")
    code = (
        "from tests.engines.bed import Bed; from tests.engines.netns import Namespace\n"
        "from tests.engines.daemon import Daemon; import os, signal\n"
        "with Namespace() as n, Daemon.start(Bed.find(), '28.5', 'containerd', n) as d:\n"
        "    print(d.folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    argv = (sys.executable, "-c", code)
    killed = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    folder = Path(killed.stdout.strip())
    for _ in range(500):
        if not leftovers(folder):
            break
        time.sleep(0.01)
    assert not leftovers(folder)
    assert str(folder) not in Path("/proc/mounts").read_text()
    shutil.rmtree(folder)
