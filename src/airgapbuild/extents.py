"""Where content lies in files, byte by byte, and reading it there.

A piece of content may lie in many extents with something else between them, as in the frames of a
tarball. What is close together is read by one system call that drops what lies between.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_GAP: Final = 64
"""What may lie between two extents that are read at once, in bytes."""
_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)  # Linux has it


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a file."""

    path: Path
    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset of the byte behind them."""
        return self.offset + self.length


def batches(extents: Iterable[Extent], most: int) -> Iterator[list[Extent]]:
    """The same extents, cut and grouped for reading at once: at most so many bytes of one file."""
    batch: list[Extent] = []
    size = 0
    for extent in extents:
        for piece in _cut(extent, most):
            if batch and (size + piece.length > most or not _follows(batch[-1], piece)):
                yield batch
                batch, size = [], 0
            batch.append(piece)
            size += piece.length
    if batch:
        yield batch


def read(handle: int, batch: Sequence[Extent]) -> bytes:
    """The bytes of a batch, from its file.

    Raises:
        OSError: they cannot be read, or are not there any more.
    """
    data = os.pread(handle, _span(batch), batch[0].offset)
    if len(data) != _span(batch):
        raise OSError(errno.EIO, "ends before it should", str(batch[0].path))
    return data if len(batch) == 1 else _wanted(data, batch)


class CacheReader:
    """Reads what the system has in memory: one at a time, through one buffer."""

    def __init__(self, most: int) -> None:
        """For batches of this many bytes."""
        self._buffer = memoryview(bytearray(2 * most))

    def read(self, handle: int, batch: Sequence[Extent]) -> bytes | None:
        """The same as `read`; None where it would have to wait for a disk, or nobody can tell.

        Source: preadv2(2), RWF_NOWAIT.
        """
        buffer = self._buffer[: _span(batch)]
        try:
            count = os.preadv(handle, [buffer], batch[0].offset, _NOWAIT)
        except OSError:
            return None
        return _wanted(buffer, batch) if count == _span(batch) else None


def _wanted(data: bytes | memoryview, batch: Sequence[Extent]) -> bytes:
    """A batch's own bytes, without what lies between them."""
    view, base = memoryview(data), batch[0].offset
    return b"".join([view[it.offset - base : it.end - base] for it in batch])


def _span(batch: Sequence[Extent]) -> int:
    return batch[-1].end - batch[0].offset


def _cut(extent: Extent, most: int) -> Iterator[Extent]:
    if extent.length <= most:
        yield extent
        return
    for at in range(0, extent.length, most):
        yield Extent(extent.path, extent.offset + at, min(most, extent.length - at))


def _follows(last: Extent, extent: Extent) -> bool:
    return last.path is extent.path and 0 <= extent.offset - last.end <= _GAP
