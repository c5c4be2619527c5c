"""Targets: a bundle's documents, its tarballs and the whole folder.

A bundle of one small image is made once. Of each input one thing in it is other, and all that
vouches for that thing is made to fit, as a forger would: so the inputs get past sums and digests to
the parsers behind them.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from airgapbuild.builder.settings import settings
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.bundle.delta import Scale, decoded_against, encoded
from airgapbuild.bundle.head import read_head
from airgapbuild.bundle.index import BundledFile, parse_bundle_index, render_index, tarball_name
from airgapbuild.bundle.packaging import DEFAULT_PACKAGING, Packaging
from airgapbuild.bundle.reader import Bundle, open_bundle, summed
from airgapbuild.bundle.walk import walk
from airgapbuild.document import parse_document
from airgapbuild.errors import AirgapbuildError
from airgapbuild.inspection import inspect
from airgapbuild.lockfile import Lock, parse_lock, render_lock
from airgapbuild.oci.archive import archive_members
from airgapbuild.progress import SILENT
from airgapbuild.verify import verify
from tests.fuzz.target import JSON_WORDS, Target, scratch
from tests.fuzz.tars import with_sums
from tests.support.forgery import TARBALL, make_tiny, stored, vouch

if TYPE_CHECKING:
    from airgapbuild.oci.archive import Member

_TOML_WORDS = (b'"""', b"'''", b"[[", b"]]", b" = ", b".", b"{", b"}", b"#", b"inf", b"[image.")
_SCALE = Scale(piece=4096, reach=1024)
_OLD = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(256))
_NEW = _OLD[:3000] + b"new" + _OLD[3000:]
_LOCK = "airgapbuild.lock"
_INDEX = "bundle.json"


@dataclass(frozen=True)
class Site:
    """The whole bundle, and a copy whose files are replaced."""

    whole: Path
    copy: Path
    head: Path
    """A tarball alone."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self.whole.iterdir()))

    @cached_property
    def bundle(self) -> Bundle:
        return open_bundle(self.whole)

    @cached_property
    def members(self) -> list[Member]:
        [image] = self.bundle.lock.image
        return archive_members(self.bundle.image(image, image.platform[0]), image.names)

    @cached_property
    def file(self) -> BundledFile:
        found = self.bundle.index.file(TARBALL)
        assert found is not None
        return found

    @cached_property
    def tar(self) -> bytes:
        return _decompressed(self.raw(TARBALL))

    def raw(self, name: str) -> bytes:
        return (self.whole / name).read_bytes()

    def restore(self, name: str) -> None:
        for changed in {name, _INDEX, "SHA256SUMS"}:
            (self.copy / changed).write_bytes(self.raw(changed))

    def read_tarball(self, data: bytes) -> None:
        """Frames as they come; the blobs are where they were.

        What is proven of them, run by run, holds for who reads them as one stream.
        """
        self.prove(data)
        tar = _decompressed(data)
        walk(iter([tar]), self.members, TARBALL)
        assert _files(tar) == _files(self.tar)

    def prove(self, data: bytes) -> None:
        (self.copy / TARBALL).write_bytes(data)
        fits = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        file = self.file.model_copy(update=fits)
        index = self.bundle.index.model_copy(update={"files": (file,)})
        bundle = Bundle(self.copy, self.bundle.lock, index)
        with summed(self.copy, file, SILENT.task("")) as opened:
            bundle.check_tarball(file, opened)

    def read_members(self, data: bytes) -> None:
        """A tar, in chunks whose size the first byte tells, with headers' sums that fit."""
        step = 1 + 8 * data[0] if data else 1
        tar = with_sums(data[1:])
        chunks = (tar[at : at + step] for at in range(0, len(tar), step))
        places = walk(chunks, self.members, "x.tar")
        assert {
            f"sha256:{hashlib.sha256(tar[at.start : at.stop]).hexdigest()}": at
            for at in places.values()
        } == places
        assert _files(tar) == _files(self.tar)

    def read_one_head(self, data: bytes) -> None:
        """A tar in one frame, of which only the documents are read."""
        self.head.write_bytes(stored(with_sums(data)))
        read_head(self.head)

    def read_frames(self, data: bytes) -> None:
        """A tarball without a bundle around it."""
        self.head.write_bytes(data)
        read_head(self.head)

    def read_index(self, data: bytes) -> None:
        parsed = parse_bundle_index(data, "bundle.json")
        assert parse_bundle_index(render_index(parsed), "bundle.json") == parsed
        bundle = Bundle(self.whole, self.bundle.lock, parsed)
        for image in bundle.lock.image:
            for locked in image.platform:
                bundle.has(image, locked)
                for step in (bundle.image, bundle.check_image):
                    with suppress(AirgapbuildError):
                        step(image, locked)

    def read_lock(self, data: bytes) -> None:
        """Its checksums are made to fit; then everything is asked that a lock can be asked."""
        try:
            parsed = parse_lock(data, _LOCK)
        except AirgapbuildError:
            parsed = parse_document(data, _LOCK).parse(Lock)
            sealed = tuple(image.seal() for image in parsed.image)
            parsed = parsed.model_copy(update={"image": sealed})
        assert parse_lock(render_lock(parsed), _LOCK).name == parsed.name
        settings(parsed)
        for image in parsed.image:
            assert all("/" not in tarball_name(image, it.platform) for it in image.platform)
            assert all(name.is_name for name in image.names)
        wanted_instance(parsed)

    def read_folder(self, data: bytes) -> None:
        """The first byte chooses a file, the rest is what lies there; the sums are made to fit."""
        name = self.names[data[0] % len(self.names)] if data else _INDEX
        try:
            (self.copy / name).write_bytes(data[1:])
            with suppress(ValueError, KeyError, TypeError):
                vouch(self.copy, name)
            told = verify(self.copy)
            with suppress(AirgapbuildError):
                inspect(self.copy)
            bundle = open_bundle(self.copy)
            bundle.check_files()
            for image in bundle.lock.image:
                for locked in image.platform:
                    bundle.check_image(image, locked)
            assert told.error is None or told.fetch
        finally:
            self.restore(name)


def make_site(packaging: Packaging = DEFAULT_PACKAGING) -> Site:
    base = scratch()
    site = Site(make_tiny(base / "whole", packaging), base / "copy", base / "head")
    site.copy.mkdir()
    for name in site.names:
        site.restore(name)
    return site


def _decompressed(raw: bytes) -> bytes:
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True)
    return reader.read()


def _files(tar: bytes) -> dict[str, bytes]:
    """What another reader finds in a tar."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {it.name: opened.extractfile(it).read() for it in opened}  # type: ignore[union-attr]


def compact_targets(site: Site) -> tuple[Target, ...]:
    """What is other in a compact bundle; and a layer that is told by an older one."""
    seed = b"".join(encoded([_NEW], len(_NEW), _Older(), _SCALE))
    return (
        Target(
            "compact", site.read_tarball, (site.raw(TARBALL),), inputs=60_000, words=_ZSTD_WORDS
        ),
        Target("compact-index", site.read_index, (site.raw(_INDEX),), inputs=40_000),
        Target("delta", _read_delta, (seed,), inputs=60_000, words=_ZSTD_WORDS),
    )


class _Older:
    size = len(_OLD)

    def read_at(self, offset: int, size: int) -> bytes:
        return _OLD[offset : offset + size]


def _read_delta(data: bytes) -> None:
    chunks = decoded_against(io.BytesIO(data), len(_NEW), _Older(), "layer", _SCALE)
    assert sum(map(len, chunks)) <= len(_NEW)


def targets(site: Site) -> tuple[Target, ...]:
    whole = {name: site.raw(name) for name in site.names}
    parts = tuple(bytes([n]) + whole[name] for n, name in enumerate(site.names))
    return (
        Target("tarball", site.read_tarball, (whole[TARBALL],), inputs=60_000, words=_ZSTD_WORDS),
        Target(
            "members",
            site.read_members,
            (b"\x10" + site.tar, b"\xff" + site.tar),
            inputs=120_000,
            words=JSON_WORDS,
        ),
        Target("head", site.read_one_head, (site.tar,), inputs=60_000, words=JSON_WORDS),
        Target(
            "frames",
            site.read_frames,
            (whole[TARBALL], *_frames(site.tar)),
            inputs=60_000,
            words=_ZSTD_WORDS,
        ),
        Target("index", site.read_index, (whole[_INDEX],), inputs=60_000, words=JSON_WORDS),
        Target(
            "lock", site.read_lock, (whole[_LOCK],), inputs=40_000, words=_TOML_WORDS, values=True
        ),
        Target("folder", site.read_folder, parts, inputs=10_000, words=(*JSON_WORDS, *_TOML_WORDS)),
    )


_ZSTD_WORDS = (
    b"\x28\xb5\x2f\xfd",
    b"\x50\x2a\x4d\x18",  # a skippable frame
    b"\x28\xb5\x2f\xfd\x03\xff\xff\xff\xff",  # a dictionary
    b"\x28\xb5\x2f\xfd\x00\xff",  # the widest window
    b"\xff\xff\xff\xff",
    b"\x02\x00\x80\x00",  # a block that repeats one byte
)


def _frames(tar: bytes) -> tuple[bytes, ...]:
    """The tar as other writers of zstd would have it."""
    skippable = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    plain = zstandard.ZstdCompressor(write_checksum=True).compress(tar)
    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    return (
        plain,
        zstandard.ZstdCompressor(compression_params=wide).compress(tar),
        skippable + plain,
    )
