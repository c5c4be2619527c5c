"""Files in parts: `x.001`, `x.002`, … of one size, the last one shorter. `cat` of them is the file.

Parts are written and read where they are: the whole lies nowhere, not for a moment. A file that
fits into one part is a file like any other, under its own name; so there is one way for both.

Three digits number at most 999 parts, and their order is the same to `sort`, to `ls` and to a
shell's `*`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from airgapbuild.bundle.index import (
    BundledFile,
    BundledPart,
    constructed,
    is_partial,
    part_name,
    under_construction,
    whole_name,
)
from airgapbuild.errors import BundleError
from airgapbuild.extents import Extent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Self

MAX_PARTS: Final = 999
_MIB: Final = 1 << 20


def part_lengths(name: str, size: int, part_size: int | None) -> list[int]:
    """How long the parts of a file are, in bytes; one where it is not split.

    Raises:
        BundleError: they are too many for three digits.
    """
    if part_size is None or size <= part_size:
        return [size]
    count = -(-size // part_size)
    if count > MAX_PARTS:
        least = -(-size // MAX_PARTS)
        raise BundleError(
            f"{name}: {size} bytes make {count} parts of {part_size}; {MAX_PARTS} is the most",
            hint=f"it takes a part-size of {-(-least // _MIB)}MiB or more",
        )
    return [part_size] * (count - 1) + [size - part_size * (count - 1)]


class PartFiles:
    """The parts of a file under construction, written at offsets of the whole by several threads.

    The first one lies where the whole would (`under_construction`), so that a run with another part
    size can go on from it. No part is held open: hundreds may be under construction at once.
    `staged` is what it is called until it is whole, where the name is taken by another one.
    """

    def __init__(
        self, folder: Path, name: str, part_size: int | None, *, staged: str | None = None
    ) -> None:
        self._folder = folder
        self._name = name
        self._staged = staged or name
        self._part_size = part_size or sys.maxsize
        self._count = 0

    def reserve(self, size: int) -> None:
        """Makes the parts of a file of `size` bytes; what is there of them stays.

        Raises:
            BundleError: they are too many.
        """
        lengths = part_lengths(self._name, size, self._part_size)
        if len(lengths) <= self._count:
            return
        for number, length in enumerate(lengths[self._count :], self._count + 1):
            handle = os.open(self._path(number), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.fchmod(handle, 0o644)
                if os.fstat(handle).st_size > length:
                    os.ftruncate(handle, length)
            finally:
                os.close(handle)
        self._count = len(lengths)
        own = {self._path(number) for number in range(1, self._count + 1)}
        for path in self._under_construction():
            if path not in own:
                path.unlink()

    def clear(self) -> None:
        """Empties all parts."""
        for number in range(1, self._count + 1):
            path = self._path(number)
            # Not where there is nothing: ext4 writes a file that was cut out when it is closed.
            if path.stat().st_size:
                os.truncate(path, 0)

    def put(self, offset: int, buffers: Iterable[bytes | memoryview]) -> None:
        """Writes buffers one after the other, from byte `offset` of the whole on."""
        runs: dict[int, list[memoryview]] = {}
        at = offset
        for buffer in buffers:
            view = memoryview(buffer)
            while view:
                number, within = divmod(at, self._part_size)
                taken = view[: self._part_size - within]
                runs.setdefault(number, []).append(taken)
                view = view[len(taken) :]
                at += len(taken)
        for number, run in runs.items():
            with self._opened(number) as handle:
                _write(handle, run, max(0, offset - number * self._part_size))

    def get(self, size: int, offset: int) -> bytes:
        """The `size` bytes from byte `offset` of the whole on; fewer where no more are there."""
        found = []
        while size > 0 and offset < self._count * self._part_size:
            number, within = divmod(offset, self._part_size)
            with self._opened(number) as handle:
                data = os.pread(handle, min(size, self._part_size - within), within)
            if not data:
                break
            found.append(data)
            size -= len(data)
            offset += len(data)
        return b"".join(found)

    def commit(self) -> None:
        """The parts under their names; the file's own where there is one.

        They are not synced.
        """
        for number in range(1, self._count + 1):
            name = part_name(self._name, number) if self._count > 1 else self._name
            self._path(number).replace(self._folder / name)

    def abandon(self) -> None:
        """Nothing is left of it, though a thread may still want to write."""
        for path in self._under_construction():
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / under_construction(part_name(self._staged, number))

    def _under_construction(self) -> list[Path]:
        return [
            path
            for path in self._folder.iterdir()
            if is_partial(path.name) and constructed(path.name) == self._staged
        ]

    @contextmanager
    def _opened(self, number: int) -> Iterator[int]:
        handle = os.open(self._path(number + 1), os.O_RDWR)
        try:
            yield handle
        finally:
            os.close(handle)


def _write(handle: int, buffers: list[memoryview], offset: int) -> None:
    while buffers:
        written = os.pwritev(handle, buffers, offset)
        offset += written
        while buffers and written >= len(buffers[0]):
            written -= len(buffers.pop(0))
        if buffers:
            buffers[0] = buffers[0][written:]


class Sums:
    """The sums of a file and of its parts, whose bytes come from front to back.

    The first part's is the whole's at that point, so what fits into one part is hashed once.
    """

    def __init__(self, part_size: int | None) -> None:
        self._part_size = part_size or sys.maxsize
        self._whole = hashlib.sha256()
        self._part = self._whole
        self._ended: list[str] = []
        self.size = 0
        """Of what has come, in bytes."""

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        view = memoryview(data)
        while view:
            within = self.size % self._part_size
            if self.size and not within:
                self._ended.append(self._part.hexdigest())
                self._part = hashlib.sha256()
            taken = view[: self._part_size - within]
            self._whole.update(taken)
            if self._part is not self._whole:
                self._part.update(taken)
            self.size += len(taken)
            view = view[len(taken) :]

    def file(self, name: str) -> BundledFile:
        """What bundle.json says of the file, now that all bytes have come."""
        sums = [*self._ended, self._part.hexdigest()]
        lengths = part_lengths(name, self.size, self._part_size)
        split = zip(lengths, sums, strict=True) if len(lengths) > 1 else ()
        parts = tuple(
            BundledPart(name=part_name(name, number), size=length, sha256=sha256)
            for number, (length, sha256) in enumerate(split, 1)
        )
        return BundledFile(
            name=name,
            size=self.size,
            sha256=self._whole.hexdigest(),
            parts=parts,
        )


class PartWriter:
    """A file of unknown length, written from front to back into as many parts as it needs."""

    def __init__(
        self, folder: Path, name: str, part_size: int | None, *, staged: str | None = None
    ) -> None:
        self._name = name
        self._sums = Sums(part_size)
        self._files = PartFiles(folder, name, part_size, staged=staged)
        self._files.abandon()
        self._files.reserve(0)

    def write(self, data: bytes | memoryview) -> int:
        """Puts the next bytes behind the others.

        Raises:
            BundleError: there are more parts than three digits number.
        """
        offset = self._sums.size
        self._files.reserve(offset + len(data))
        self._files.put(offset, [data])
        self._sums.update(data)
        return len(data)

    def finish(self) -> BundledFile:
        """What bundle.json says of the file; it, or its parts, get their names by `commit`."""
        return self._sums.file(self._name)

    def commit(self) -> None:
        """See `PartFiles.commit`."""
        self._files.commit()

    def abandon(self) -> None:
        """See `PartFiles.abandon`."""
        self._files.abandon()


class UnreadableError(BundleError):
    """A file of a bundle that cannot be read, of those that are read as one."""

    def __init__(self, path: Path, error: OSError) -> None:
        hint = f"make it readable: chmod -R a+rX {path.parent}"
        denied = isinstance(error, PermissionError)
        super().__init__(f"{path}: {error.strerror}", hint=hint if denied else None)
        self.name = path.name


class Joined:
    """Files that are read one after the other as if they were one.

    Raises:
        UnreadableError: one cannot be read.
    """

    def __init__(self, paths: Sequence[Path], start: int = 0) -> None:
        self._paths = paths
        self.number = 0
        """Which of the files the bytes that were read last are from, counted from 0."""
        self._file = self._open(start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file that is open."""
        self._file.close()

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        while size:
            try:
                data = self._file.read(size)
            except OSError as error:
                raise UnreadableError(self._paths[self.number], error) from error
            if data or self.number + 1 == len(self._paths):
                return data
            self._file.close()
            self.number += 1
            self._file = self._open(0)
        return b""

    def _open(self, start: int) -> IO[bytes]:
        path = self._paths[self.number]
        try:
            file = path.open("rb")
            file.seek(start)
        except OSError as error:
            raise UnreadableError(path, error) from error
        return file


def opened(folder: Path, file: BundledFile, start: int = 0) -> Joined:
    """A file of the bundle from byte `start` on, whether it is in parts or not."""
    stored = list(file.stored)
    while len(stored) > 1 and start >= stored[0].size:
        start -= stored.pop(0).size
    return Joined([folder / part.name for part in stored], start)


def located(files: Iterable[tuple[Path, int]], offset: int, length: int) -> Iterator[Extent]:
    """Where bytes of a whole lie in its files, which come with their sizes and in their order."""
    for path, size in files:
        if length and offset < size:
            here = min(length, size - offset)
            yield Extent(path, offset, here)
            offset += here
            length -= here
        offset -= size


def from_first(path: Path) -> list[Path]:
    """A file, and if it is a first part, those behind it that lie beside it."""
    name = whole_name(path.name)
    paths = [path]
    if path.name == part_name(name, 1):
        while (after := path.with_name(part_name(name, len(paths) + 1))).is_file():
            paths.append(after)
    return paths
