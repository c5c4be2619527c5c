from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.reader import open_bundle
from airgapbuild.errors import BundleError, IntegrityError, LockError
from airgapbuild.export import export
from airgapbuild.lockfile import Lock, LockedImage
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.reference import Reference

GOLDEN = Path(__file__).parent / "golden"
TEXT = """
version = 1
name = "builders"
platforms = ["linux/amd64", "linux/arm64"]
[images.buildkit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
tags = ["moby/buildkit:buildx-stable-1"]
[images.busybox]
ref = "busybox:1.37"
role = "base"
platforms = ["linux/amd64"]
[builder]
name = "airgap"
image = "buildkit"
"""


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    shared = random.Random(1).randbytes(300_000)
    source.publish(
        "moby/buildkit:v0.34.2", "linux/amd64", "linux/arm64", layers=(shared, b"buildkitd")
    )
    source.publish("busybox:1.37", "linux/amd64", layers=(shared, b"sh"))
    return source


@pytest.fixture
def lock(source: MemorySource) -> Lock:
    return resolve(parse_manifest(TEXT.encode(), "m", folder=Path()), source)


@pytest.fixture
def folder(lock: Lock, source: MemorySource, tmp_path: Path) -> Path:
    export(lock, source, tmp_path / "b")
    return tmp_path / "b"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without(lock: Lock, name: str) -> Lock:
    images: tuple[LockedImage, ...] = tuple(image for image in lock.image if image.name != name)
    return lock.model_copy(update={"image": images})


def test_a_bundle_is_these_files(folder: Path) -> None:
    assert sorted(contents(folder)) == [
        "SHA256SUMS",
        "airgapbuild.lock",
        "builder.json",
        "buildkit_v0.34.2_linux-amd64.oci.tar.zst",
        "buildkit_v0.34.2_linux-arm64.oci.tar.zst",
        "buildkitd.toml",
        "bundle.json",
        "busybox_1.37_linux-amd64.oci.tar.zst",
        "install.sh",
    ]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_coreutils_agree(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    assert done.stdout.count(b": OK") == 8


def test_the_tar_lists_as_the_golden_file(folder: Path) -> None:
    plain = subprocess.run(
        ["zstd", "-dc", folder / "buildkit_v0.34.2_linux-amd64.oci.tar.zst"],
        check=True,
        capture_output=True,
    ).stdout
    listing = subprocess.run(
        ["tar", "-tvf", "-", "--numeric-owner", "--utc"],
        input=plain,
        check=True,
        capture_output=True,
    )
    assert listing.stdout.decode() == (GOLDEN / "buildkit-amd64.tar.txt").read_text()


def test_the_index_lists_every_name_and_the_manifest_the_layers(folder: Path) -> None:
    path = folder / "buildkit_v0.34.2_linux-amd64.oci.tar.zst"
    plain = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    (folder.parent / "t.tar").write_bytes(plain)
    with tarfile.open(folder.parent / "t.tar") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        [manifest] = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]] == [
        "docker.io/moby/buildkit:v0.34.2",
        "docker.io/moby/buildkit:buildx-stable-1",
        "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2",
    ]
    assert manifest["RepoTags"] == [
        "moby/buildkit:v0.34.2",
        "moby/buildkit:buildx-stable-1",
        "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2",
    ]
    assert len(manifest["Layers"]) == 2


def test_the_same_lock_gives_the_same_bytes(
    folder: Path, lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    source.chunk = 1000
    old = os.umask(0o077)
    try:
        export(lock, source, tmp_path / "other")
    finally:
        os.umask(old)
    assert contents(tmp_path / "other") == contents(folder)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "other").iterdir()} == {0o644}


def test_an_unchanged_bundle_is_left_alone(folder: Path, lock: Lock, source: MemorySource) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    source.asked.clear()
    exported = export(lock, source, folder)
    assert not exported.changed
    assert source.asked == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_blob_that_several_tarballs_hold_is_fetched_once(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    source.asked.clear()
    export(lock, source, tmp_path / "b")
    [shared] = [digest for digest, raw in source.blobs.items() if len(raw) > 100_000]
    assert [asked.partition("@")[2] for asked in source.asked].count(shared) == 1


def test_only_what_changed_is_made_anew(folder: Path, lock: Lock, source: MemorySource) -> None:
    source.publish("busybox:1.37", "linux/amd64", layers=(b"new",))
    text = TEXT.encode()
    moved = resolve(
        parse_manifest(text, "m", folder=Path()), source, previous=lock, upgrade={"busybox"}
    )
    exported = export(moved, source, folder)
    assert exported.written == ("busybox_1.37_linux-amd64.oci.tar.zst",)
    open_bundle(folder).check_files()


def test_a_damaged_tarball_is_made_anew(folder: Path, lock: Lock, source: MemorySource) -> None:
    whole = contents(folder)
    path = folder / "busybox_1.37_linux-amd64.oci.tar.zst"
    path.write_bytes(path.read_bytes()[:-1])
    assert export(lock, source, folder).changed
    assert contents(folder) == whole


def test_an_image_that_left_the_lock_leaves_the_bundle(
    folder: Path, lock: Lock, source: MemorySource
) -> None:
    export(without(lock, "busybox"), source, folder)
    assert "busybox_1.37_linux-amd64.oci.tar.zst" not in contents(folder)
    open_bundle(folder).check_files()


def test_a_folder_with_something_else_in_it_is_not_touched(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match=r"thesis\.tex: is not a file of a bundle"):
        export(lock, source, tmp_path)
    assert list(contents(tmp_path)) == ["thesis.tex"]


@pytest.mark.parametrize("name", ["SHA256SUMS", "install.sh"])
def test_a_release_folder_is_not_touched(
    lock: Lock, source: MemorySource, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(f"{'0' * 64}  myapp.deb\n")
    (tmp_path / "myapp.deb").write_text("ours")
    before = contents(tmp_path)
    with pytest.raises(BundleError, match=r"is not a file of a bundle"):
        export(lock, source, tmp_path)
    assert contents(tmp_path) == before


def test_sums_that_somebody_made_anew_make_no_file_ours(
    folder: Path, lock: Lock, source: MemorySource
) -> None:
    (folder / "thesis.tex").write_text("years of work")
    names = [path for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    with pytest.raises(BundleError, match=r"thesis\.tex: is not a file of a bundle"):
        export(lock, source, folder)
    assert (folder / "thesis.tex").exists()


def signed(source: MemorySource, lock: Lock) -> tuple[Lock, Content, Content]:
    """A lock with a signature of the builder's index and an SBOM of its arm64 manifest."""
    image = next(image for image in lock.image if image.name == "buildkit")
    signature = source.attach("moby/buildkit", image.digest, b"signature")
    sbom = source.attach("moby/buildkit", image.platform[1].manifest, b"sbom")
    manifest = parse_manifest(TEXT.encode(), "m", folder=Path())
    return resolve(manifest, source, previous=lock, upgrade={"buildkit"}), signature, sbom


def test_what_refers_to_an_image_is_in_the_tarballs_that_it_concerns(
    folder: Path, lock: Lock, source: MemorySource
) -> None:
    both, signature, sbom = signed(source, lock)
    exported = export(both, source, folder)
    assert exported.written == (
        "buildkit_v0.34.2_linux-amd64.oci.tar.zst",
        "buildkit_v0.34.2_linux-arm64.oci.tar.zst",
    )
    bundle = open_bundle(folder)
    image = both.find("buildkit")
    assert image is not None
    for locked in image.platform:
        found = bundle.check_image(image, locked)
        of_arm64 = str(locked.platform) == "linux/arm64"
        assert {it.raw for it in found.referrers} == {signature.raw, *([sbom.raw] * of_arm64)}
        for document in found.referrers:
            assert bundle.manifest(image.ref.with_digest(document.descriptor.digest)) == document


def test_a_signature_that_came_later_makes_only_its_tarballs_anew(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    both, *_ = signed(source, lock)
    export(both, source, tmp_path / "b")
    image = next(image for image in lock.image if image.name == "buildkit")
    source.attach("moby/buildkit", image.platform[0].manifest, b"later")
    manifest = parse_manifest(TEXT.encode(), "m", folder=Path())
    after = resolve(manifest, source, previous=both, upgrade={"buildkit", "busybox"})
    exported = export(after, source, tmp_path / "b")
    assert exported.written == ("buildkit_v0.34.2_linux-amd64.oci.tar.zst",)


@pytest.mark.parametrize("key", ["size", "subject", "artifact_type", "media_type"])
def test_a_referrer_that_is_not_what_the_lock_says_is_an_error(
    lock: Lock, source: MemorySource, tmp_path: Path, key: str
) -> None:
    both, *_ = signed(source, lock)
    image = next(image for image in both.image if image.name == "buildkit")
    wrong = {"size": 1, "subject": image.platform[0].manifest}.get(key, "application/x")
    referrers = tuple(it.model_copy(update={key: wrong}) for it in image.referrer)
    edited = image.model_copy(update={"referrer": referrers}).seal()
    with pytest.raises(LockError, match=r"images\.buildkit: referrer sha256:"):
        export(both.model_copy(update={"image": (edited,)}), source, tmp_path / "b")


class Broken(MemorySource):
    """Delivers a wrong last byte for the largest blob."""

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        if descriptor.size == max(map(len, self.blobs.values())):
            yield b"x" * 100
            raise IntegrityError(f"{descriptor.digest}: wrong")
        yield from super().blob(reference, descriptor)


def test_a_failed_export_leaves_the_old_bundle_as_it_was(
    folder: Path, lock: Lock, source: MemorySource
) -> None:
    whole = contents(folder)
    source.publish(
        "moby/buildkit:v0.34.2",
        "linux/amd64",
        "linux/arm64",
        layers=(random.Random(2).randbytes(900_000),),
    )
    moved = resolve(
        parse_manifest(TEXT.encode(), "m", folder=Path()),
        source,
        previous=lock,
        upgrade={"buildkit"},
    )
    with pytest.raises(IntegrityError):
        export(moved, Broken(source.manifests, source.blobs), folder)
    assert contents(folder) == whole


def test_a_failed_first_export_leaves_an_empty_folder(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError):
        export(lock, Broken(source.manifests, source.blobs), tmp_path / "b")
    assert contents(tmp_path / "b") == {}


def test_parts_that_a_killed_run_left_are_removed(
    folder: Path, lock: Lock, source: MemorySource
) -> None:
    (folder / ".busybox_1.37_linux-amd64.oci.tar.zst.part").write_bytes(b"half")
    export(lock, source, folder)
    open_bundle(folder).check_files()


def test_two_exports_do_not_share_a_folder(folder: Path, lock: Lock, source: MemorySource) -> None:
    import fcntl  # noqa: PLC0415

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="another export, split or join is at work here"):
            export(lock, source, folder)
    finally:
        os.close(handle)


def test_a_file_in_the_folders_place_is_told(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    (tmp_path / "b").write_text("")
    with pytest.raises(BundleError, match="is not a folder"):
        export(lock, source, tmp_path / "b")


def test_a_lock_that_contradicts_the_content_is_an_error(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    image = lock.image[0]
    platform = image.platform[0].model_copy(update={"config": "sha256:" + "0" * 64})
    edited = image.model_copy(update={"platform": (platform, *image.platform[1:])}).seal()
    wrong = lock.model_copy(update={"image": (edited, *lock.image[1:])})
    with pytest.raises(LockError, match=r"images\.buildkit: linux/amd64: the lock says"):
        export(wrong, source, tmp_path / "b")
