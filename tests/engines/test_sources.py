"""Where builds get their images: a layout that loads share, or the registry of a site."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.oci.garbage import held, prune
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.reference import parse_reference
from tests.conftest import ROOM_MB
from tests.engines.bundles import make_bundle, manifest, with_frontend
from tests.engines.daemon import Daemon, docker_config
from tests.engines.process import until
from tests.engines.registry import Registry
from tests.engines.site import Site
from tests.support.program import PROGRAM, airgapbuild, document, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.layout import Image
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

SCANNER = "docker/buildkit-syft-scanner:stable-1"
MANIFEST = """\
version = 1
name = "builders"
platforms = ["linux/amd64"]

[images.busybox]
ref = "busybox:{busybox}"
role = "base"

[images.scanner]
ref = "{scanner}"
role = "base"

[bundle]
layers = "compact"

[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""

INTRICATE = f"""\
ARG VERSION=1
ARG BASE="corp.example/base:${{VERSION%-*}}" NONE
FROM --platform=$BUILDPLATFORM ${{BASE:-nothing}}${{NONE:+x}} as Build
ARG VERSION=9
RUN --mount=type=bind,from=mounted:1,target=/m <<EOT
echo built > /greeting
FROM=nothing
EOT
FROM unused:1 AS unused
RUN --mount=from=unused:2,target=/m true
FROM build AS build
ONBUILD COPY --from=triggered /bin/busybox /triggered
COPY --from=0 /greeting /first
from build
COPY --from=Build /greeting /second
COPY --from=copied@sha256:{"0" * 64} /bin/busybox /copied
copy --from=copied:1 /bin/busybox /copied
"""


@pytest.fixture(scope="module")
def compact_bases(
    registry: Registry, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    text = MANIFEST.format(busybox=busybox, scanner=SCANNER, registry=registry.address)
    return make_bundle(tmp_path_factory.mktemp("bases"), text)


@pytest.fixture(scope="module")
def site(
    bed: Shelf,
    blackhole: Namespace,
    bundle: Path,
    compact_bases: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "home").mkdir()
    with (
        Daemon.start(bed, "28.5", "containerd", blackhole, data_size_mb=ROOM_MB) as daemon,
        blackhole.capture() as seen,
    ):
        site = Site(daemon, docker_config(bed, folder / "docker", "newest"), folder / "home")
        site.load(bundle)
        site.load(compact_bases)
        yield site
        site.remove_builder()
    assert seen.packets == []


def test_an_sbom_by_the_scanner_of_the_layout(
    site: Site, images: dict[str, Image], busybox: str, tmp_path: Path
) -> None:
    upstream = images[f"library/busybox:{busybox}"].index
    (tmp_path / "Dockerfile").write_text(
        f"FROM busybox@{upstream}\n"
        f"COPY --from=busybox:{busybox}@{upstream} /bin/busybox /other/\n"
        "RUN /other/busybox true\n"
    )
    told = site.airgapbuild("check", "--sbom", tmp_path / "Dockerfile")
    assert told.returncode == 0, told.stderr
    out = tmp_path / "app.tar"
    options = ("--sbom=true", "--provenance=false", "--output", f"type=oci,dest={out}")
    done = site.airgapbuild("build", "--no-cache", *options, tmp_path)
    assert done.returncode == 0, done.stderr
    assert any("spdx" in statement["predicateType"] for statement in statements(out))


def test_check_names_what_buildkit_looks_for(site: Site, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(INTRICATE)
    argument = ("--build-arg", "VERSION=2.0-slim")
    told = document(site.airgapbuild("check", "--json", *argument, tmp_path / "Dockerfile"))
    names = [image["name"] for image in told["images"]]
    layout = Layout(Path(told["layout"]))
    digest = layout.images()[parse_reference(f"busybox:{busybox}")]
    contexts = [f"--build-context={name}=oci-layout://{layout.path}@{digest}" for name in names]
    options = (f"--output={tmp_path / 'out'}", *argument, *contexts)
    done = site.daemon.docker("buildx", "build", *options, tmp_path, config=site.config)
    assert (tmp_path / "out" / "greeting").read_text() == "built\n"
    looked_for = re.findall(r"\[(\S+) (\S+)\] load metadata", done.stderr)
    assert sorted(set(looked_for)) == sorted(("context", name) for name in names)
    assert len(names) == 5


def test_a_platform_that_is_not_there_is_told_before_and_by_the_build(
    site: Site, busybox: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM busybox:{busybox}\n")
    told = site.airgapbuild("check", "--platform", "linux/arm64", tmp_path / "Dockerfile")
    assert told.returncode == 7
    assert f"busybox:{busybox} is in the layout, but not for linux/arm64" in told.stderr
    done = site.airgapbuild("build", "--platform", "linux/arm64", tmp_path)
    assert done.returncode == 1
    assert "no match for platform in manifest" in done.stderr


def test_loads_and_prunings_share_a_layout(site: Site, compact_bases: Path, tmp_path: Path) -> None:
    layout, log = Layout(tmp_path / "layout"), tmp_path / "log"
    command = (*site.daemon.namespace.prefix, PROGRAM)

    def load() -> subprocess.Popen[bytes]:
        words = map(str, (*command, "load", "--quiet", "--layout", layout.path, compact_bases))
        with log.open("ab") as said:
            return subprocess.Popen([*words], env=environment(site.env), stderr=said)

    with layout.sweeping(lambda: None):  # a load waits for it before it looks what is there
        running = [load(), load()]
        lock = layout.path / ".airgapbuild.filling.lock"
        until(lambda: _waiting(lock) == len(running) or None, running[0], log)
        assert not layout.images()
    while any(process.poll() is None for process in running):
        prune(layout)
    assert [process.returncode for process in running] == [0, 0]
    assert len(layout.images()) == 2
    assert all(layout.configs(digest) for digest in layout.images().values())
    kept = set(held(layout))
    assert {blob.digest for blob in layout.blobs()} == kept  # whole, all of them
    assert prune(layout) == ()
    assert load().wait() == 0
    assert set(held(layout)) == kept


@pytest.fixture(scope="module")
def inside(bed: Shelf, blackhole: Namespace) -> Iterator[Registry]:
    """The site's registry, which has all images below a path."""
    with Registry.start(bed, namespace=blackhole, path="hub") as running:
        yield running


@pytest.fixture(scope="module")
def governed(
    site: Site,
    inside: Registry,
    registry: Registry,
    busybox: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """The same site, whose builds follow the source policy of a lock."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "airgapbuild.toml").write_text(with_frontend(manifest(registry.address, busybox)))
    assert airgapbuild("lock", cwd=folder).returncode == 0
    told = airgapbuild("source-policy", "--registry", f"{inside.address}/hub", cwd=folder)
    (folder / "source-policy.json").write_text(told.stdout)
    governed = site.copy()
    policy = str(folder / "source-policy.json")
    governed.daemon.env["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] = policy
    return governed


def test_what_the_lock_has_comes_by_digest(
    governed: Site, inside: Registry, images: dict[str, Image], busybox: str, tmp_path: Path
) -> None:
    base = images[f"library/busybox:{busybox}"].index
    (tmp_path / "Dockerfile").write_text(
        "# syntax=docker/dockerfile:1\n"
        f"FROM busybox:{busybox} AS one\n"
        "RUN echo built > /greeting\n"
        f"FROM busybox@{base}\n"
        f"COPY --from=busybox:{busybox}@{base} /bin/busybox /other\n"
        "COPY --from=one /greeting /\n"
    )
    governed.docker("buildx", "build", "--output", tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "greeting").read_text() == "built\n"
    asked = inside.log.read_text()
    assert f"/v2/hub/library/busybox/manifests/{base}" in asked
    frontend = images["docker/dockerfile:1"].index
    assert f"/v2/hub/docker/dockerfile/manifests/{frontend}" in asked
    assert f"manifests/{busybox}" not in asked


@pytest.mark.parametrize("name", ["bash:5.2", "{registry}/hub/library/bash:5.2", "busybox:latest"])
def test_everything_else_is_denied(
    governed: Site, inside: Registry, name: str, tmp_path: Path
) -> None:
    name = name.format(registry=inside.address)
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN true\n")
    done = governed.daemon.docker("buildx", "build", tmp_path, config=governed.config, check=False)
    assert done.returncode == 1
    assert "denied by policy" in done.stderr
    assert "bash" not in inside.log.read_text()


def _waiting(lock: Path) -> int:
    """How many processes wait for a lock. Source: proc_locks(5)."""
    inode = f":{lock.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return sum("->" in line and inode in line for line in lines)


def statements(layout: Path) -> list[dict[str, str]]:
    """The in-toto statements in a layout's tar."""
    found = []
    with tarfile.open(layout) as tar:
        for member in tar:
            raw = tar.extractfile(member)
            content = raw.read() if raw and member.size < 1 << 20 else b""
            if content.startswith(b"{") and b'"predicateType"' in content:
                found.append(json.loads(content))
    return found
