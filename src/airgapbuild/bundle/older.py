"""Older layers, by which newer ones are told (see `delta`), raw and at any place."""

from __future__ import annotations

import hashlib
import os
import weakref
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from airgapbuild.errors import IntegrityError
from airgapbuild.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class ReadableLayer:
    """A layer that can be read from its beginning."""

    diff_id: Digest
    limit: int
    """The most bytes that its raw tar may have."""
    read: Callable[[], Iterator[bytes]]
    """Its raw tar in chunks, which nobody has verified."""


class OlderLayer:
    """A raw layer in an open file. It is a `delta.Reference`."""

    def __init__(self, digest: Digest, file: IO[bytes]) -> None:
        self.digest = digest
        self.size = os.fstat(file.fileno()).st_size
        self._file = file
        weakref.finalize(self, file.close)

    def read_at(self, offset: int, size: int) -> bytes:
        """See `delta.Reference`."""
        return os.pread(self._file.fileno(), size, offset)


def laid_out(layer: ReadableLayer, scratch: Path) -> OlderLayer:
    """A layer in a file without a name in the folder `scratch`, gone when it is let go.

    Raises:
        IntegrityError: it is not what its diff ID says, or more than it may be.
    """
    file = unnamed(scratch)
    if copied(layer.read(), layer.limit, file) != layer.diff_id:
        file.close()
        raise IntegrityError(f"the older layer {layer.diff_id} is not what its digest says")
    return OlderLayer(layer.diff_id, file)


def unnamed(scratch: Path) -> IO[bytes]:
    """A file that nobody else sees, on the file system of a folder."""
    scratch.mkdir(parents=True, exist_ok=True)
    return TemporaryFile(dir=scratch)


def copied(chunks: Iterable[bytes], limit: int, file: IO[bytes]) -> Digest | None:
    """The digest of what is now in the file; None where it was more than `limit` bytes."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        if file.write(chunk) and file.tell() > limit:
            return None
    file.flush()
    return Digest(f"sha256:{hasher.hexdigest()}")
