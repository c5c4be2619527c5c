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


def read(handle: int, batch: Sequence[Extent]) -> bytearray:
    """The bytes of a batch, from its file.

    Raises:
        OSError: they cannot be read, or are not there any more.
    """
    data, views = _buffers(batch)
    if os.preadv(handle, views, batch[0].offset) != _span(batch):
        raise OSError(errno.EIO, "ends before it should", str(batch[0].path))
    return data


def read_cached(handle: int, batch: Sequence[Extent]) -> bytearray | None:
    """The same; None where it would have to wait for a disk, or the file system cannot tell.

    Source: preadv2(2), RWF_NOWAIT.
    """
    data, views = _buffers(batch)
    try:
        is_whole = os.preadv(handle, views, batch[0].offset, _NOWAIT) == _span(batch)
    except OSError:
        return None
    return data if is_whole else None


def _buffers(batch: Sequence[Extent]) -> tuple[bytearray, list[memoryview]]:
    """A buffer for what is wanted, and views of it with a place for what lies between."""
    data = bytearray(sum(extent.length for extent in batch))
    whole, nothing = memoryview(data), memoryview(bytearray(_GAP))
    views = []
    at, end = 0, batch[0].offset
    for extent in batch:
        if gap := extent.offset - end:
            views.append(nothing[:gap])
        views.append(whole[at : at + extent.length])
        at += extent.length
        end = extent.end
    return data, views


def _span(batch: Sequence[Extent]) -> int:
    return batch[-1].end - batch[0].offset


def _cut(extent: Extent, most: int) -> Iterator[Extent]:
    for at in range(0, extent.length, most):
        yield Extent(extent.path, extent.offset + at, min(most, extent.length - at))


def _follows(last: Extent, extent: Extent) -> bool:
    return last.path == extent.path and 0 <= extent.offset - last.end <= _GAP
