"""Writing a bundle: tarballs whose parts arrive in any order, then the files that vouch for them.

The place of every byte of a tarball follows from its members' sizes (see `frames`), so blobs are
written as they come, by whichever thread has them. The sum of the file is taken close behind the
writers, as far as the file has no gap, from the page cache.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.frames import stored_length, stored_pieces
from airgapbuild.bundle.index import (
    INDEX_FILE,
    SUMS_FILE,
    BundledBlob,
    BundledFile,
    BundleIndex,
    render_index,
    render_sums,
    sha256_of,
)
from airgapbuild.files import write_if_changed
from airgapbuild.oci.archive import END, blob_digest
from airgapbuild.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from airgapbuild.oci.archive import Member
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.platform import Platform

PARTIAL: Final = ".part"
"""The suffix of a tarball under construction; its name begins with a dot."""

_READ: Final = 256 << 10
"""How much is summed at once, in bytes: it stays in a core's own cache meanwhile."""


@dataclass(frozen=True)
class Section:
    """A run of the tar that is stored in frames of its own: a blob, or what lies between two."""

    offset: int
    size: int
    data: bytes | None
    blob: Descriptor | None = None
    digest: Digest | None = None

    @property
    def end(self) -> int:
        """The offset after its frames."""
        return self.offset + stored_length(self.size)


class Tarball:
    """An `.oci.tar.zst` under construction, beside the place that it will take.

    What is in hand is written at once; `missing` are the sections that `write` must fill, each from
    its beginning on.
    """

    def __init__(
        self, folder: Path, name: str, members: Iterable[Member], image: str, platform: Platform
    ) -> None:
        self.name = name
        self._image = image
        self._platform = platform
        self._path = folder / f".{name}{PARTIAL}"
        self._target = folder / name
        self._sections = tuple(_sections(members))
        self._written: dict[int, int] = {}
        self._hasher = hashlib.sha256()
        self._hashed = 0
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        # Not before the last thread has let go of it: its number may soon be another file's.
        weakref.finalize(self, os.close, self._fd)
        os.fchmod(self._fd, 0o644)
        for section in self._sections:
            if section.data is not None:
                self.write(section, 0, section.data)

    @property
    def size(self) -> int:
        """The size of the file, in bytes."""
        return self._sections[-1].end

    @property
    def missing(self) -> list[Section]:
        """The sections whose blobs are not in hand."""
        return [section for section in self._sections if section.blob]

    def write(self, section: Section, start: int, chunk: bytes) -> None:
        """Puts the next chunk at byte `start` of a section. One thread for each section."""
        offset, pieces = stored_pieces(section.size, start, chunk)
        offset += section.offset
        while pieces:
            written = os.pwritev(self._fd, pieces, offset)
            offset += written
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.pop(0))
            if pieces:
                pieces[0] = memoryview(pieces[0])[written:]
        self._written[section.offset] = offset

    def sum_up(self) -> None:
        """Takes the sum on to the file's first gap. One thread, beside those that write."""
        for section in self._sections:
            if section.end <= self._hashed:
                continue
            end = self._written.get(section.offset, section.offset)
            while self._hashed < end:
                chunk = os.pread(self._fd, min(_READ, end - self._hashed), self._hashed)
                self._hasher.update(chunk)
                self._hashed += len(chunk)
            if end < section.end:
                return

    def commit(self) -> BundledFile:
        """The file under its name, and what bundle.json says of it.

        It is not synced: SHA256SUMS, written last, tells a whole bundle from one cut by a crash.
        """
        self.sum_up()
        if self._hashed != self.size:
            raise RuntimeError(f"{self.name}: {self._hashed} of {self.size} bytes are there")
        self._path.replace(self._target)
        return BundledFile(
            name=self.name,
            size=self.size,
            sha256=self._hasher.hexdigest(),
            image=self._image,
            platform=self._platform,
            blobs=tuple(_blobs(self._sections)),
        )

    def abandon(self) -> None:
        """Nothing is left of it, though a thread may still be writing."""
        self._path.unlink(missing_ok=True)


def write_index(folder: Path, index: BundleIndex) -> bool:
    """Writes bundle.json and then SHA256SUMS, which makes the bundle whole; whether it had to."""
    raw = render_index(index)
    sums = {file.name: file.sha256 for file in index.files}
    sums[INDEX_FILE] = sha256_of(digest_of(raw))
    changed = write_if_changed(folder / INDEX_FILE, raw)
    return write_if_changed(folder / SUMS_FILE, render_sums(sums)) or changed


def small_file(name: str, content: bytes) -> BundledFile:
    """What bundle.json says of one of the bundle's small files."""
    return BundledFile(name=name, size=len(content), sha256=sha256_of(digest_of(content)))


def _sections(members: Iterable[Member]) -> Iterator[Section]:
    offset = 0
    between = b""
    for member in members:
        between += member.header
        digest = blob_digest(member)
        if digest is None:
            between += (member.data or b"") + member.padding
            continue
        section = Section(offset, len(between), between)
        yield section
        section = Section(section.end, member.size, member.data, member.blob, digest)
        yield section
        offset, between = section.end, member.padding
    yield Section(offset, len(between) + len(END), between + END)


def _blobs(sections: Iterable[Section]) -> Iterator[BundledBlob]:
    for section in sections:
        if section.digest:
            yield BundledBlob(
                digest=section.digest,
                size=section.size,
                offset=section.offset,
                length=stored_length(section.size),
            )
