"""Signatures and SBOMs of real tools, from real registries into bundles and behind the gap."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from airgapbuild.bundle.reader import open_bundle
from airgapbuild.lockfile import read_lock
from airgapbuild.oci.content import parse_manifest
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.source import read_blob
from tests.engines.daemon import docker_config
from tests.engines.registry import Registry
from tests.engines.site import Site
from tests.support.program import airgapbuild

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.lockfile import LockedImage
    from tests.conftest import FreshDaemon
    from tests.engines.daemon import Engine, Store
    from tests.engines.layout import Image
    from tests.engines.parts.part import Shelf

MANIFEST = """\
version = 1
name = "signed"
platforms = ["linux/amd64", "linux/arm64"]
[images.busybox]
ref = "busybox:{tag}"
role = "{role}"
[bundle]
attestations = {attestations}
[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""
SBOM = "application/spdx+json"
SIGNATURE = "application/vnd.example.signature"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass(frozen=True)
class Signed:
    """A registry that has the base image, and what its tests attach to it."""

    registry: Registry
    image: Image
    oras: Path
    way: Literal["api", "tag"]

    @property
    def repository(self) -> str:
        return f"{self.registry.address}/{self.image.repository}"

    def run(self, *arguments: str | Path, folder: Path) -> str:
        argv = [str(argument) for argument in (self.oras, *arguments)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        done = subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attach(self, subject: str, kind: str, payload: bytes, folder: Path) -> str:
        """Attaches a file to a manifest or index of the image; the artifact's digest."""
        (folder / "payload").write_bytes(payload)
        printed = ("--format", "go-template", "--template", "{{.digest}}")
        options = ("--plain-http", *printed, "--artifact-type", kind)
        return self.run(
            *("attach", *options, f"{self.repository}@{subject}", f"payload:{kind}"), folder=folder
        )

    def cosign(self, payload: bytes, folder: Path) -> str:
        """Signs the index in cosign's elder way, by a tag; the signature's digest."""
        (folder / "payload").write_bytes(payload)
        (folder / "config.json").write_bytes(b"{}")
        tag = f"{self.image.index.replace(':', '-')}.sig"
        printed = ("--format", "go-template", "--template", "{{.digest}}")
        config = "config.json:application/vnd.oci.image.config.v1+json"
        options = ("--plain-http", *printed, "--config", config)
        return self.run(
            *("push", *options, f"{self.repository}:{tag}", f"payload:{COSIGN}"), folder=folder
        )


@pytest.fixture(params=["api", "tag"])
def signed(
    request: pytest.FixtureRequest, bed: Shelf, images: dict[str, Image], tmp_path: Path
) -> Iterator[Signed]:
    """A registry with the Referrers API, and Debian's, where a tag has to do."""
    way: Literal["api", "tag"] = request.param
    image = next(it for ref, it in images.items() if ref.startswith("library/busybox:1"))
    oras = bed.part("peers/go") / "bin/oras"
    started = Registry.with_referrers(bed) if way == "api" else Registry.start(bed, writable=True)
    with started as registry:
        served = Signed(registry, image, oras, way)
        if way == "api":
            layout = f"{bed.part('images/built') / 'layout'}@{image.index}"
            target = f"{served.repository}:{image.tag}"
            options = ("--from-oci-layout", layout, "--to-plain-http", target)
            served.run("cp", *options, folder=tmp_path)
        yield served


def run(
    signed: Signed, folder: Path, *commands: str, role: str = "tool", attestations: str = "true"
) -> None:
    text = MANIFEST.format(
        tag=signed.image.tag,
        role=role,
        attestations=attestations,
        registry=signed.registry.address,
    )
    (folder / "airgapbuild.toml").write_text(text)
    for command in commands:
        done = airgapbuild(*command.split(), cwd=folder)
        assert done.returncode == 0, done.stderr


def locked(folder: Path) -> LockedImage:
    [image] = read_lock(folder / "airgapbuild.lock").image
    return image


def payloads(bundle: Bundle, image: LockedImage, platform: int) -> set[bytes]:
    """What the artifacts of one platform hold, read from the bundle byte by byte."""
    found = bundle.check_image(image, image.platform[platform])
    return {
        read_blob(bundle, image.ref, layer)
        for document in found.referrers
        for layer in parse_manifest(document, "artifact").layers
    }


def test_what_was_attached_arrives_in_the_bundle_byte_for_byte(
    signed: Signed, tmp_path: Path
) -> None:
    arm = signed.image.platforms["linux/arm64"].manifest
    artifacts = {
        signed.attach(signed.image.index, SIGNATURE, b"of the index", tmp_path): SIGNATURE,
        signed.attach(arm, SBOM, b"of arm64", tmp_path): SBOM,
        signed.cosign(b"by cosign", tmp_path): "application/vnd.oci.image.config.v1+json",
    }
    run(signed, tmp_path, "lock", "export")
    image = locked(tmp_path)
    assert {it.digest: it.artifact_type for it in image.referrer} == artifacts
    bundle = open_bundle(tmp_path / "bundles/signed")
    assert payloads(bundle, image, 0) == {b"of the index", b"by cosign"}
    assert payloads(bundle, image, 1) == {b"of the index", b"by cosign", b"of arm64"}
    for entry in image.referrer:
        raw = bundle.manifest(image.ref.with_digest(entry.digest)).raw
        assert (digest_of(raw), len(raw)) == (entry.digest, entry.size)


def test_a_signature_of_later_waits_for_an_upgrade(signed: Signed, tmp_path: Path) -> None:
    run(signed, tmp_path, "lock")
    before = (tmp_path / "airgapbuild.lock").read_bytes()
    signature = signed.attach(signed.image.index, SIGNATURE, b"later", tmp_path)
    run(signed, tmp_path, "lock --check", "lock")
    assert (tmp_path / "airgapbuild.lock").read_bytes() == before
    run(signed, tmp_path, "lock --upgrade")
    assert [it.digest for it in locked(tmp_path).referrer] == [signature]


def test_attestations_false_leaves_all_of_it_out(signed: Signed, tmp_path: Path) -> None:
    signed.attach(signed.image.index, SIGNATURE, b"signature", tmp_path)
    run(signed, tmp_path, "lock", "export")
    run(signed, tmp_path, attestations="false")
    assert airgapbuild("lock", "--check", cwd=tmp_path).returncode == 4
    run(signed, tmp_path, "lock", "export", attestations="false")
    image = locked(tmp_path)
    bundle = open_bundle(tmp_path / "bundles/signed")
    for entry in image.platform:
        found = bundle.check_image(image, entry)
        assert (found.referrers, found.attestations) == ((), ())
        assert len(found.documents) == 3
        assert found.blobs == found.layers


def test_where_there_is_nothing_to_find_little_is_asked(signed: Signed, tmp_path: Path) -> None:
    run(signed, tmp_path, "lock")
    assert locked(tmp_path).referrer == ()
    asked = [line for line in signed.registry.log.read_text().splitlines() if "GET /v2/" in line]

    def times(path: str) -> int:
        return len([line for line in asked if path in line])

    subjects = [signed.image.index, *(it.manifest for it in signed.image.platforms.values())]
    for subject in subjects:
        fallback = times(f"/manifests/{subject.replace(':', '-')} ")
        assert fallback == (0 if signed.way == "api" else 1)
        assert times(f"/referrers/{subject}") <= 1
    assert times(".sig ") == times(".att ") == 1


@pytest.mark.parametrize("signed", ["api"], indirect=True)
@pytest.mark.parametrize("store", ["classic", "containerd"])
@pytest.mark.parametrize("engine", ["28.5", "newest"])
def test_the_signed_image_loads_as_the_locked_one(
    signed: Signed,
    fresh_daemon: FreshDaemon,
    bed: Shelf,
    tmp_path: Path,
    engine: Engine,
    store: Store,
) -> None:
    amd = signed.image.platforms["linux/amd64"]
    signed.attach(signed.image.index, SIGNATURE, b"of the index", tmp_path)
    signed.attach(amd.manifest, SBOM, b"of amd64", tmp_path)
    signed.cosign(b"by cosign", tmp_path)
    run(signed, tmp_path, "lock", "export")
    daemon = fresh_daemon(engine, store)
    folder = tmp_path / "bundles/signed"
    daemon.docker("load", "-i", next(folder.glob("*_linux-amd64.oci.tar.zst")))
    expected = signed.image.index if store == "containerd" else amd.config
    assert held(daemon.docker("image", "ls", "--all", "--quiet", "--no-trunc").stdout) == {expected}
    daemon.docker("image", "rm", "--force", expected)
    site = Site(daemon, docker_config(bed, tmp_path / "config"), tmp_path)
    [loaded] = site.load(folder)["images"]
    assert loaded["action"] == "loaded"
    assert site.inspect(f"busybox:{signed.image.tag}")["Id"] == expected
    [again] = site.load(folder)["images"]
    assert again["action"] == "present"


def held(listed: str) -> set[str]:
    return set(listed.split())


@pytest.mark.parametrize("signed", ["api"], indirect=True)
def test_skopeo_and_oras_take_the_signed_tarball(
    signed: Signed, bed: Shelf, tmp_path: Path
) -> None:
    signed.attach(signed.image.index, SIGNATURE, b"of the index", tmp_path)
    run(signed, tmp_path, "lock", "export")
    compressed = next((tmp_path / "bundles/signed").glob("*_linux-amd64.oci.tar.zst"))
    tarball = tmp_path / "image.tar"
    subprocess.run(["zstd", "-dq", "-o", tarball, compressed], check=True)
    tag, manifest = signed.image.tag, signed.image.platforms["linux/amd64"].manifest
    skopeo = bed.part("peers/debian") / "bin/skopeo"
    source = f"oci-archive:{tarball}:{tag}"
    subprocess.run(
        [skopeo, "copy", "-q", "--insecure-policy", source, f"dir:{tmp_path}/copied"], check=True
    )
    assert digest_of((tmp_path / "copied/manifest.json").read_bytes()) == manifest
    target = f"{signed.registry.address}/by-oras:{tag}"
    options = ("--from-oci-layout", f"{tarball}:{tag}", "--to-plain-http", target)
    signed.run("cp", "--platform", "linux/amd64", *options, folder=tmp_path)
    described: dict[str, Any] = json.loads(
        signed.run("manifest", "fetch", "--plain-http", "--descriptor", target, folder=tmp_path)
    )
    assert described["digest"] == manifest


@pytest.mark.parametrize("signed", ["api"], indirect=True)
def test_base_images_bring_their_signatures_into_the_layout(
    signed: Signed, fresh_daemon: FreshDaemon, bed: Shelf, tmp_path: Path
) -> None:
    signature = signed.attach(signed.image.index, SIGNATURE, b"of the index", tmp_path)
    run(signed, tmp_path, "lock", "export", role="base")
    daemon = fresh_daemon("28.5", "containerd")
    site = Site(daemon, docker_config(bed, tmp_path / "config"), tmp_path)
    layout = Path(site.load(tmp_path / "bundles/signed")["layout"])
    raw = (layout / "blobs" / signature.replace(":", "/")).read_bytes()
    assert json.loads(raw)["subject"]["digest"] == signed.image.index
