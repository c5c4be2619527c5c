"""Bundles that were tampered with, up to what a forger could do who rewrites the sums as well."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from airgapbuild.bundle import frames
from airgapbuild.bundle.compact import write_compact
from airgapbuild.bundle.packaging import DEFAULT_PACKAGING, Packaging
from airgapbuild.bundle.writer import Tarball
from airgapbuild.export import export
from airgapbuild.lockfile import write_lock
from airgapbuild.manifest import parse_manifest, read_manifest
from airgapbuild.oci.archive import Member
from airgapbuild.oci.digest import Digest
from airgapbuild.oci.platform import parse_platform
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airgapbuild.bundle.index import BundledBlob

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.tool]
ref = "tool:1"
role = "tool"
"""
_BUILDER = """role = "builder"
tags = ["tool:stable"]
[builder]
name = "b"
image = "tool"
[buildkitd.worker.oci]
max-parallelism = 4
"""
TARBALL = "tool_1_linux-amd64.oci.tar.zst"


COMPACT = Packaging(layers="compact", level=1)


def make_bundle(
    folder: Path, packaging: Packaging = DEFAULT_PACKAGING, *, size: int = 300_000
) -> Path:
    """A bundle of one image, whose larger layer has so many bytes."""
    source = MemorySource()
    source.publish("tool:1", "linux/amd64", layers=(random.Random(1).randbytes(size), b"top"))
    return _exported(folder, source, TEXT, packaging)


def make_tiny(folder: Path, packaging: Packaging = DEFAULT_PACKAGING) -> Path:
    """A bundle of a few kilobytes: a builder with one image, which has three names."""
    source = MemorySource()
    source.publish("tool:1", "linux/amd64", layers=(b"base", b"top"))
    return _exported(folder, source, TEXT.replace('role = "tool"', _BUILDER), packaging)


def make_project(folder: Path, ref: str = "tool:1") -> Path:
    """A manifest, its lock and its bundle: an export that needs no registry any more."""
    source = MemorySource()
    source.publish(ref, "linux/amd64")
    path = folder / "airgapbuild.toml"
    path.write_text(TEXT.replace("tool:1", ref))
    lock = resolve(read_manifest(path), source)
    write_lock(path.with_suffix(".lock"), lock)
    export(lock, source, folder / "bundles/b")
    return folder


def make_two(folder: Path, text: str, packaging: Packaging = DEFAULT_PACKAGING) -> Path:
    """A bundle of the manifest `text`: of `kit:1` for two platforms, and of `tool:1` for one.

    They share a layer.
    """
    source = MemorySource()
    shared = random.Random(1).randbytes(200_000)
    source.publish("kit:1", "linux/amd64", "linux/arm64", layers=(shared, b"buildkitd"))
    source.publish("tool:1", "linux/amd64", layers=(shared, b"sh"))
    return _exported(folder, source, text, packaging)


def _exported(folder: Path, source: MemorySource, text: str, packaging: Packaging) -> Path:
    lock = resolve(parse_manifest(text.encode(), "m", folder=Path()), source)
    export(lock, source, folder, packaging=packaging)
    return folder


def vouch(folder: Path, name: str) -> None:
    """Makes the index and the sums agree with a file that was changed: a forger's work."""
    index = json.loads((folder / "bundle.json").read_bytes())
    raw = (folder / name).read_bytes()
    for file in index["files"]:
        if file["name"] == name:
            file.update(size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
    if name == "airgapbuild.lock":
        index["lock"] = "sha256:" + hashlib.sha256(raw).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(index))
    sums = (folder / "SHA256SUMS").read_text()
    for changed in (name, "bundle.json"):
        found = hashlib.sha256((folder / changed).read_bytes()).hexdigest()
        sums = re.sub(
            rf"^\w+  {re.escape(changed)}$", f"{found}  {changed}", sums, flags=re.MULTILINE
        )
    (folder / "SHA256SUMS").write_text(sums)


def stored(content: bytes) -> bytes:
    return b"".join(frames.stored([content], len(content)))


def members(folder: Path) -> dict[str, bytes]:
    raw = (folder / TARBALL).read_bytes()
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True)
    with tarfile.open(fileobj=io.BytesIO(reader.read())) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def forge(folder: Path, edit: Callable[[tarfile.TarFile, dict[str, bytes]], None]) -> None:
    """Replaces the tarball by one whose members `edit` writes, with sums that agree."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        edit(tar, members(folder))
    # Two zero blocks end it; Python pads further, which is not our form.
    raw = buffer.getvalue()
    end = len(raw.rstrip(b"\0"))
    (folder / TARBALL).write_bytes(stored(raw[: -(-end // 512) * 512] + bytes(1024)))
    vouch(folder, TARBALL)


def add(tar: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname, info.size = content.decode(), 0
    tar.addfile(info, io.BytesIO(content))


def rebuild(folder: Path, whole: dict[str, bytes]) -> None:
    """Replaces the tarball by one of these members, with an index and sums that agree."""
    written = [Member(name, len(data), data) for name, data in whole.items()]
    made = Tarball(folder, TARBALL, written, "tool", parse_platform("linux/amd64")).commit()
    _list(folder, made.blobs)


def recompress(folder: Path, whole: dict[str, bytes], layers: set[str]) -> None:
    """The same with a compact tarball, of which these members are the layers."""
    written = [Member(name, len(data), data) for name, data in whole.items()]
    digests = {Digest(f"sha256:{name[-64:]}") for name in layers}
    with (folder / TARBALL).open("wb") as file:
        blobs = write_compact(written, digests, 1, lambda _: iter(()), file.write)
    _list(folder, blobs)


def _list(folder: Path, blobs: Iterable[BundledBlob]) -> None:
    """Makes the index and the sums agree with a tarball of these blobs."""
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    file["blobs"] = [blob.model_dump(mode="json", exclude_none=True) for blob in blobs]
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)


def forge_blobs(folder: Path, edit: Callable[[tarfile.TarFile, dict[str, bytes]], None]) -> None:
    """Forges the tarball, and keeps the whole one's bytes behind the index's offsets.

    The documents are read at their offsets before the walk, so they must still be there.
    """
    whole = members(folder)
    forge(folder, edit)
    raw = (folder / TARBALL).read_bytes()
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    for blob in file["blobs"]:
        frames = stored(whole["blobs/sha256/" + blob["digest"].removeprefix("sha256:")])
        blob.update(offset=len(raw), length=len(frames))
        raw += frames
    # The blobs lie behind the tar: it is walked to its end first, where all cases are found.
    (folder / TARBALL).write_bytes(raw)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)
