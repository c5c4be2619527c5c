"""A compact tarball: stored frames up to the layers, then one long frame with all of them.

Raw layers of one image have much in common, and a window of 128 MiB reaches from one into another.
It is the largest that plain `zstd -d` and the engines take without being told. The long frame
begins at the first layer's tar header and goes to the tar's end; what comes before it can be read
at its place, as in an exact tarball. A layer is read by decoding what lies before it: in the order
in which they lie there, all of them cost one decoding.

In a differential bundle a layer may be told by an older one, which the receiver has: as frames that
none but `delta` reads. To all else that reads tarballs, the file is damaged there.

The frame is written by one thread, and all that zstd would choose by the machine is fixed, so its
bytes depend on the content, the level and the version of zstd only.

Source: zstd's manual, "Advanced compression API" (ZSTD_c_windowLog,
ZSTD_c_enableLongDistanceMatching); zstd.h, ZSTD_WINDOWLOG_LIMIT_DEFAULT.
"""

from __future__ import annotations

import weakref
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import zstandard

from airgapbuild.bundle.delta import encoded
from airgapbuild.bundle.frames import decoded, stored, stored_length
from airgapbuild.bundle.index import BundledBlob
from airgapbuild.bundle.parts import opened
from airgapbuild.bundle.walk import Stream
from airgapbuild.oci.archive import BLOCK, END, archive_size, blob_digest, member_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from airgapbuild.bundle.index import BundledFile
    from airgapbuild.bundle.older import OlderLayer
    from airgapbuild.oci.archive import Member
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest

_WINDOW_LOG: Final = 27
WINDOW: Final = 1 << _WINDOW_LOG
"""How far back a long frame reaches, and so what it wants of memory, in bytes."""


def write_compact(
    members: Sequence[Member],
    layers: Container[Digest],
    level: int,
    read: Callable[[Descriptor], Iterator[bytes]],
    write: Callable[[bytes | memoryview], object],
    older: Mapping[Digest, OlderLayer] = MappingProxyType({}),
) -> tuple[BundledBlob, ...]:
    """Writes the tarball of these members, front to back; where in it the blobs lie.

    The members from the first of `layers` on go into the long frame; behind it come those that are
    told by an `older` one.
    """
    told = [member for member in members if blob_digest(member.name) in older]
    members = [member for member in members if blob_digest(member.name) not in older]
    cut = next((n for n, it in enumerate(members) if blob_digest(it.name) in layers), len(members))
    out = _Out(write)
    blobs = list(_store(members[:cut], read, out))
    offset = out.position
    if members[cut:] or not told:
        end = b"" if told else END
        _compress(members[cut:], level, read, out, end)
    start = 0
    for member in members[cut:]:
        if digest := blob_digest(member.name):
            blobs.append(
                BundledBlob(
                    digest=digest,
                    size=member.size,
                    offset=offset,
                    length=out.position - offset,
                    start=start + BLOCK,
                )
            )
        start += BLOCK + member.size + len(member.padding)
    return (*blobs, *_tell(told, read, out, older))


class LongFrames:
    """Long frames to read blobs from: the last one stays open behind the last blob."""

    def __init__(self) -> None:
        self._open: _LongFrame | None = None

    def blob(self, folder: Path, file: BundledFile, blob: BundledBlob) -> Iterator[bytes]:
        """The content of a blob of this tarball.

        Raises:
            BundleError: it cannot be read, or is no zstd frame.
        """
        # Taken away meanwhile, so that no other thread goes on reading from it.
        frame, self._open = self._open, None
        if frame is None or not frame.leads_to(folder, file, blob):
            frame = _LongFrame(folder, file, blob)
        yield from frame.read(blob)
        self._open = frame


class _LongFrame:
    """One long frame that is decoded forwards."""

    def __init__(self, folder: Path, file: BundledFile, blob: BundledBlob) -> None:
        self._place = (folder / file.name, blob.offset, blob.length)
        tarball = opened(folder, file, blob.offset)
        weakref.finalize(self, tarball.close)
        self._stream = Stream(decoded(tarball, blob.length, file.name, window=WINDOW))

    def leads_to(self, folder: Path, file: BundledFile, blob: BundledBlob) -> bool:
        """Whether the blob still lies ahead."""
        is_here = self._place == (folder / file.name, blob.offset, blob.length)
        return is_here and self._stream.position <= (blob.start or 0)

    def read(self, blob: BundledBlob) -> Iterator[bytes]:
        for _ in self._stream.read((blob.start or 0) - self._stream.position):
            pass
        yield from map(bytes, self._stream.read(blob.size))


class _Out:
    """Where the bytes go, and how many they were."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write
        self.position = 0

    def write(self, data: bytes | memoryview) -> None:
        self._write(data)
        self.position += len(data)


def _store(
    members: Sequence[Member], read: Callable[[Descriptor], Iterator[bytes]], out: _Out
) -> Iterator[BundledBlob]:
    """Writes members as an exact tarball has them: each blob in frames of its own."""
    between = b""
    for member in members:
        between += member.header
        digest = blob_digest(member.name)
        if digest is None:
            between += (member.data or b"") + member.padding
            continue
        _run(out, [between], len(between))
        offset = out.position
        content = read(member.blob) if member.blob else iter([member.data or b""])
        _run(out, content, member.size)
        length = stored_length(member.size)
        yield BundledBlob(digest=digest, size=member.size, offset=offset, length=length)
        between = member.padding
    _run(out, [between], len(between))


def _run(out: _Out, content: Iterable[bytes], size: int) -> None:
    for piece in stored(content, size):
        out.write(piece)


def _compress(
    members: Sequence[Member],
    level: int,
    read: Callable[[Descriptor], Iterator[bytes]],
    out: _Out,
    end: bytes,
) -> None:
    """Writes members, and the tar's end, as one frame, its size in the frame's header."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, window_log=_WINDOW_LOG, enable_ldm=True, threads=0
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    frame = compressor.compressobj(size=archive_size(members) - len(END) + len(end))
    for chunk in chain(member_chunks(members, read), [end]):
        out.write(frame.compress(chunk))
    out.write(frame.flush())


def _tell(
    members: Sequence[Member],
    read: Callable[[Descriptor], Iterator[bytes]],
    out: _Out,
    older: Mapping[Digest, OlderLayer],
) -> Iterator[BundledBlob]:
    """Writes members as what differs from older layers, and the tar's end."""
    between = b""
    for member in members:
        digest = blob_digest(member.name)
        if digest is None or member.blob is None:
            raise RuntimeError(f"{member.name}: is no blob")
        _run(out, [between + member.header], len(between) + BLOCK)
        offset = out.position
        for frame in encoded(read(member.blob), member.size, older[digest]):
            out.write(frame)
        yield BundledBlob(
            digest=digest,
            size=member.size,
            offset=offset,
            length=out.position - offset,
            reference=older[digest].digest,
        )
        between = member.padding
    if members:
        _run(out, [between + END], len(between) + len(END))
