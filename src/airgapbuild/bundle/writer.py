"""Writing a bundle: tarballs whose parts arrive in any order, then the files that vouch for them.

The place of every byte of a tarball follows from its members' sizes (see `frames`), so blobs are
written as they come, by whichever threads have them. A frame's header is written after its content:
it marks the frame whole, so the file itself tells a later run how far a killed one has come. The
sum of the file is taken close behind the writers, as far as the file has no gap, from the page
cache.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.frames import Frame, frame_at, frames_of, stored_length
from airgapbuild.bundle.index import (
    INDEX_FILE,
    SUMS_FILE,
    BundledBlob,
    BundledFile,
    BundleIndex,
    RequiredBlob,
    render_index,
    render_sums,
    sha256_of,
)
from airgapbuild.bundle.parts import PartFiles, Sums
from airgapbuild.bundle.signature import drop_signature
from airgapbuild.errors import BundleError
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

_READ: Final = 256 << 10
"""How much is summed at once, in bytes: it stays in a core's own cache meanwhile."""


@dataclass(frozen=True, eq=False)
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

    What is in hand is written at once; `missing` are the sections that `write` must fill. Of a
    section that a killed run has begun, `found` are the frames that need not come again, if the
    blob proves right; else `forget` them.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        members: Iterable[Member],
        image: str,
        platform: Platform,
        *,
        part_size: int | None = None,
    ) -> None:
        self.name = name
        self.image = image
        self.platform = platform
        self.requires: tuple[RequiredBlob, ...] = ()
        """What its image needs besides."""
        self.part_size = part_size
        self._sections = tuple(_sections(members))
        self._files = PartFiles(folder, name, part_size)
        self._files.reserve(self._sections[-1].end)
        self._whole: set[int] = set()
        self._found = self._resumed()
        self._begin_sum()
        for section in self._sections:
            if section.data is not None:
                self.write(section, 0, section.data)

    @property
    def missing(self) -> list[Section]:
        """The sections whose blobs are not in hand."""
        return [section for section in self._sections if section.blob]

    def found(self, section: Section) -> frozenset[Frame]:
        """The frames of a section that a killed run has left."""
        return self._found.get(section, frozenset())

    def forget(self, section: Section) -> None:
        """Empties a section whose content was not right; all of it must be written."""
        for frame in frames_of(section.size):
            self._whole.discard(section.offset + frame.offset)
            self._files.put(section.offset + frame.offset, [bytes(len(frame.header))])
        self._sum_is_stale = True

    def write(self, section: Section, start: int, chunk: bytes) -> None:
        """Puts a chunk at byte `start` of a section. One thread writes a frame, in order."""
        view = memoryview(chunk)
        while view:
            frame = frame_at(section.size, start)
            part = view[: frame.stop - start]
            offset, pieces = frame.pieces(start, part)
            self._files.put(section.offset + offset, pieces)
            start += len(part)
            view = view[len(part) :]
            if start == frame.stop:
                self._files.put(section.offset + frame.offset, [frame.header])
                self._whole.add(section.offset + frame.offset)

    def read(self, section: Section) -> Iterator[memoryview]:
        """The content of a section, all of whose frames are found or written."""
        for frame in frames_of(section.size):
            yield from frame.content(self._files.get(frame.length, section.offset + frame.offset))

    def sum_up(self) -> None:
        """Takes the sum on to the file's first gap. One thread, beside those that write."""
        while self._unsummed:
            section, frame = self._unsummed[0]
            offset = section.offset + frame.offset
            if offset not in self._whole:
                return
            for start in range(0, frame.length, _READ):
                size = min(_READ, frame.length - start)
                self._sums.update(self._files.get(size, offset + start))
            self._unsummed.popleft()

    def commit(self) -> BundledFile:
        """The file, or its parts, under their names, and what bundle.json says of it.

        It is not synced: SHA256SUMS, written last, tells a whole bundle from one cut by a crash.
        """
        if self._sum_is_stale:
            self._begin_sum()
        self.sum_up()
        if self._unsummed:
            raise RuntimeError(f"{self.name}: {len(self._unsummed)} frames are not there")
        self._files.commit()
        what = {
            "image": self.image,
            "platform": self.platform,
            "blobs": tuple(_blobs(self._sections)),
            "requires": self.requires,
        }
        return self._sums.file(self.name).model_copy(update=what)

    def abandon(self) -> None:
        """Nothing is left of it, though a thread may still be writing."""
        self._files.abandon()

    def _begin_sum(self) -> None:
        self._sums = Sums(self.part_size)
        self._unsummed = deque(
            (section, frame) for section in self._sections for frame in frames_of(section.size)
        )
        self._sum_is_stale = False

    def _resumed(self) -> dict[Section, frozenset[Frame]]:
        """The frames that a killed run has left, by section.

        Its first section names every blob by digest: where that one is the same, so is the rest.
        """
        head = self._sections[0]
        if b"".join(self.read(head)) != head.data:
            self._files.clear()
            return {}
        return {section: frozenset(self._left(section)) for section in self.missing}

    def _left(self, section: Section) -> Iterator[Frame]:
        for frame in frames_of(section.size):
            offset, header = section.offset + frame.offset, frame.header
            if self._files.get(len(header), offset) == header:
                self._whole.add(offset)
                yield frame


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """A bundle's folder with nobody else at work in it.

    Raises:
        BundleError: somebody is.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BundleError(f"{folder}: another export, split or join is at work here") from None
    finally:
        os.close(handle)


def write_index(folder: Path, index: BundleIndex) -> bool:
    """Writes bundle.json and then SHA256SUMS, which makes the bundle whole; whether it had to.

    A signature goes with the sums that it was made for.
    """
    sums = sums_of(index)
    drop_signature(folder, unless=sums)
    changed = write_if_changed(folder / INDEX_FILE, render_index(index))
    return write_if_changed(folder / SUMS_FILE, sums) or changed


def sums_of(index: BundleIndex) -> bytes:
    """SHA256SUMS as it goes with this bundle.json: a line for each file, or each of its parts."""
    sums = {part.name: part.sha256 for file in index.files for part in file.stored}
    sums[INDEX_FILE] = sha256_of(digest_of(render_index(index)))
    return render_sums(sums)


def small_file(name: str, content: bytes) -> BundledFile:
    """What bundle.json says of one of the bundle's small files."""
    return BundledFile(name=name, size=len(content), sha256=sha256_of(digest_of(content)))


def large_file(folder: Path, name: str) -> BundledFile:
    """What bundle.json says of a file that is not small, as it lies in the folder."""
    sums = Sums(None)
    with (folder / name).open("rb") as file:
        while data := file.read(_READ):
            sums.update(data)
    return sums.file(name)


def _sections(members: Iterable[Member]) -> Iterator[Section]:
    offset = 0
    between = b""
    for member in members:
        between += member.header
        digest = blob_digest(member.name)
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
