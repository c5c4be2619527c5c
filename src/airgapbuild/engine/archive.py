"""The tar that a daemon gives of an image, read as it comes.

Source: Docker Engine API, `GET /images/{name}/get`; moby daemon/internal/image/tarexport/save.go
(classic store), daemon/containerd/image_exporter.go (containerd).
"""

from __future__ import annotations

import tarfile
from contextlib import closing
from typing import IO, TYPE_CHECKING, Final

from airgapbuild.errors import DaemonError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_READ: Final = 1 << 20
_MAX_SIZE: Final = (1 << 63) - 1
"""Of a file, in bytes. A header can also tell what is less than nothing."""


class SavedFile:
    """The content of a file of the tar."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file = file
        self._what = what

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end.

        Raises:
            DaemonError: the tar is cut short.
        """
        try:
            return self._file.read(size)
        except tarfile.TarError as error:
            raise _no_tar(self._what, error) from error

    def chunks(self) -> Iterator[bytes]:
        """All of it, in pieces.

        Raises:
            DaemonError: see `read`.
        """
        while chunk := self.read(_READ):
            yield chunk


def saved_files(chunks: Generator[bytes], what: str) -> Iterator[tuple[str, int, SavedFile]]:
    """The plain files of a saved image: name, size in bytes, and content, to be read at once.

    Raises:
        DaemonError: it is no tar.
    """
    try:
        with (
            closing(chunks),
            tarfile.open(
                fileobj=_Stream(chunks),  # type: ignore[call-overload] # it only asks for read()
                mode="r|",
                bufsize=_READ,
            ) as tar,
        ):
            for member in tar:
                if not 0 <= member.size <= _MAX_SIZE:
                    raise tarfile.ReadError(f"{member.name!r} is of {member.size} bytes")
                if file := tar.extractfile(member) if member.isreg() else None:
                    yield member.name, member.size, SavedFile(file, what)
    except tarfile.TarError as error:
        raise _no_tar(what, error) from error


def _no_tar(what: str, error: tarfile.TarError) -> DaemonError:
    return DaemonError(f"{what}: what the daemon saves is no tar: {error}")


class _Stream:
    """Chunks as a file, as far as tarfile needs one: it takes what a read gives, and keeps it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int) -> bytes:
        return next(self._chunks, b"")
