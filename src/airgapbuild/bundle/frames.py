"""Stored zstd frames: content whose place in the file is known before it has arrived.

Image layers are compressed already, and a second compression gains one percent. So an exact tarball
is a chain of zstd frames of raw blocks. Every zstd reader takes it; its bytes do not depend on a
zstd version; several threads can write it at once, each at its own offset; and any blob can be read
without decoding what lies before it.

A run of `size` bytes is cut into frames of 4 MiB (the last one shorter), and each frame into raw
blocks of 128 KiB::

    frame = magic(4) descriptor(1) content-size(4) block*      single segment, no checksum
    block = header(3) bytes(…)                                 last-block bit, type 0 (raw), size

Source: RFC 8878, 3.1.1 (frames), 3.1.1.2 (blocks) and 3.1.2 (skippable frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from airgapbuild.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

FRAME: Final = 4 << 20
"""Content bytes in a full frame."""
_BLOCK: Final = 128 << 10
MAGIC: Final = (0xFD2FB528).to_bytes(4, "little")
_DESCRIPTOR: Final = bytes([0b1010_0000])  # four bytes of content size; single segment
_FRAME_HEADER: Final = 9
_BLOCK_HEADER: Final = 3
_FULL_FRAME: Final = _FRAME_HEADER + FRAME + _BLOCK_HEADER * (FRAME // _BLOCK)
_FRAME_START: Final = 5
"""Of any frame's header: so many bytes tell how long it is."""
_SUM: Final = 4
_REPEATED: Final = 1
"""The type of a block that has one byte, whatever size its header tells."""
_READ: Final = 1 << 20


class Readable(Protocol):
    """What frames are read from: an open file, or something that looks on while one is read."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def stored_length(size: int) -> int:
    """The length of the frames that store `size` bytes."""
    full, rest = divmod(size, FRAME)
    return full * _FULL_FRAME + (_position(rest) if rest else 0)


@dataclass(frozen=True)
class Frame:
    """One frame of a run: it stores the run's bytes from `start` to `stop`."""

    start: int
    stop: int

    @property
    def offset(self) -> int:
        """Of its first byte, from the run's first frame."""
        return self.start // FRAME * _FULL_FRAME

    @property
    def length(self) -> int:
        """Of all its bytes."""
        return _position(self.stop - self.start)

    @property
    def header(self) -> bytes:
        """Its first bytes. Whoever writes them last can tell a whole frame from a begun one."""
        return MAGIC + _DESCRIPTOR + (self.stop - self.start).to_bytes(4, "little")

    def pieces(self, position: int, chunk: memoryview) -> tuple[int, list[bytes | memoryview]]:
        """Where to write a chunk of the run that begins at byte `position` of it, and what.

        Returns the offset from the run's first frame, and the buffers to write there one after the
        other: the chunk, with the headers of the blocks that begin in it.
        """
        within = position - self.start
        offset = self.offset + _position(within)
        pieces: list[bytes | memoryview] = []
        while chunk:
            if within % _BLOCK == 0:
                pieces.append(self._block_header(within))
            taken = chunk[: _BLOCK - within % _BLOCK]
            pieces.append(taken)
            chunk = chunk[len(taken) :]
            within += len(taken)
        return offset, pieces

    def content(self, stored: bytes) -> Iterator[memoryview]:
        """The run's bytes in this frame's bytes, block by block."""
        view = memoryview(stored)
        for at in range(_FRAME_HEADER, len(view), _BLOCK_HEADER + _BLOCK):
            yield view[at + _BLOCK_HEADER : at + _BLOCK_HEADER + _BLOCK]

    def _block_header(self, within: int) -> bytes:
        left = self.stop - self.start - within
        return (min(left, _BLOCK) << 3 | (left <= _BLOCK)).to_bytes(_BLOCK_HEADER, "little")


def frame_at(size: int, position: int) -> Frame:
    """The frame that stores byte `position` of a run of `size` bytes."""
    start = position - position % FRAME
    return Frame(start, min(size, start + FRAME))


def frames_of(size: int) -> Iterator[Frame]:
    """The frames of a run of `size` bytes, in order."""
    return (frame_at(size, start) for start in range(0, size, FRAME))


def spans(size: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where in the frames of a run of `size` bytes those from `start` to `stop` lie, as they are.

    Each span is an offset from the run's first frame, and a length. Between two lie headers.
    """
    while start < stop:
        frame = frame_at(size, start)
        within = start - frame.start
        header = 0 if within % _BLOCK else _BLOCK_HEADER
        length = min(_BLOCK - within % _BLOCK, min(stop, frame.stop) - start)
        yield frame.offset + _position(within) + header, length
        start += length


def stored(chunks: Iterable[bytes], size: int) -> Iterator[bytes | memoryview]:
    """The frames that store `size` bytes, front to back."""
    position = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            frame = frame_at(size, position)
            if position == frame.start:
                yield frame.header
            part = view[: frame.stop - position]
            yield from frame.pieces(position, part)[1]
            position += len(part)
            view = view[len(part) :]


def decoded(file: Readable, length: int, what: str, *, window: int = FRAME) -> Iterator[bytes]:
    """The content of the frames in the next `length` bytes of a file, in chunks.

    These are whole frames and nothing else. So who reads runs of frames one by one gets what others
    get who read the file as one stream, and there is no place for what only one of them would see.
    `window` is how much memory a frame may want for what it has decoded, in bytes.

    Raises:
        BundleError: they are no whole zstd frames, or want more memory.
    """
    return decompressed(Whole(Slice(file, length), what), what, window=window)


def decompressed(file: Readable, what: str, *, window: int) -> Iterator[bytes]:
    """What any zstd reader gets out of a file, in chunks: skippable frames are passed over.

    Raises:
        BundleError: it is not zstd, or wants more memory. (Where it is cut, it just ends: the
            reader knows its digest.)
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=window)
    try:
        with decompressor.stream_reader(
            file,  # type: ignore[arg-type] # it only asks for read()
            read_size=_READ,
            read_across_frames=True,
            closefd=False,
        ) as reader:
            while chunk := reader.read(_READ):
                yield chunk
    except zstandard.ZstdError as error:
        raise BundleError(f"{what}: not zstd: {error}") from error


class Whole:
    """A file of zstd frames, which is found to be no other while it is read.

    It ends where a frame ends, and there is no skippable frame in it.
    """

    def __init__(self, file: Readable, what: str) -> None:
        self.content_size = 0
        """What the headers of the frames so far say; more than anything has where one does not."""
        self._file = file
        self._what = what
        self._headers = self._frames()
        self._wanted = next(self._headers)
        self._field = b""
        self._passing = 0
        """How many bytes of content come before the next header."""
        self._is_within = False
        """Whether a header of a frame, or of one of its blocks, is still to come."""

    def read(self, size: int = -1, /) -> bytes:
        """See `Readable.read`.

        Raises:
            BundleError: here begins no frame, or the last one does not end.
        """
        data = self._file.read(size)
        if data:
            self._pass(data)
        elif self._passing or self._is_within or self._field:
            raise BundleError(f"{self._what}: not zstd: the last frame is cut short")
        return data

    def _pass(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._passing:
                passed = min(self._passing, len(data) - at)
                self._passing -= passed
            else:
                passed = min(self._wanted - len(self._field), len(data) - at)
                self._field += data[at : at + passed]
                if len(self._field) == self._wanted:
                    field, self._field = self._field, b""
                    self._wanted = self._headers.send(field)
            at += passed

    def _frames(self) -> Generator[int, bytes, None]:
        """Asks for the headers of frames and blocks, one after another, by their lengths."""
        while True:
            start = yield _FRAME_START
            if not start.startswith(MAGIC):
                raise BundleError(f"{self._what}: not zstd: something between two frames")
            self._is_within = True
            header = start + (yield zstandard.frame_header_size(start) - len(start))
            try:
                told = zstandard.get_frame_parameters(header)
            except zstandard.ZstdError as error:
                raise BundleError(f"{self._what}: not zstd: {error}") from error
            self.content_size += told.content_size
            is_last = False
            while not is_last:
                block = int.from_bytes((yield _BLOCK_HEADER), "little")
                is_last = bool(block & 1)
                self._passing = 1 if block >> 1 & 3 == _REPEATED else block >> 3
            self._passing += _SUM if told.has_checksum else 0
            self._is_within = False


class Slice:
    """The next `length` bytes of a file, as a file."""

    def __init__(self, file: Readable, length: int) -> None:
        self._file = file
        self._left = length

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        size = self._left if size < 0 else min(size, self._left)
        data = self._file.read(size)
        self._left -= len(data)
        return data


def _position(in_frame: int) -> int:
    """Where in a frame the byte after the first `in_frame` bytes of content is written."""
    return _FRAME_HEADER + in_frame + _BLOCK_HEADER * -(-in_frame // _BLOCK)
