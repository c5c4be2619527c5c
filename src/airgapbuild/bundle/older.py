"""Older layers, by which newer ones are told (see `delta`), raw and at any place."""

from __future__ import annotations

import hashlib
import os
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final

from airgapbuild.errors import IntegrityError
from airgapbuild.files import reaching
from airgapbuild.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_ANOTHER: Final = (
    "another folder is named by load --layout, serve --cache, export -o and, for push, "
    "XDG_CACHE_HOME"
)


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
        UsageError: the folder cannot be written, or is full.
    """
    file, digest = copied(layer.read(), layer.limit, scratch)
    if digest != layer.diff_id:
        file.close()
        raise IntegrityError(f"the older layer {layer.diff_id} is not what its digest says")
    return OlderLayer(layer.diff_id, file)


def copied(chunks: Iterable[bytes], limit: int, scratch: Path) -> tuple[IO[bytes], Digest | None]:
    """A file that nobody else sees, on the file system of a folder, and the digest of what it has.

    None stands for a digest where it was more than `limit` bytes.

    Raises:
        UsageError: the folder cannot be written, or is full.
    """
    hasher = hashlib.sha256()
    with reaching(scratch, _ANOTHER), ExitStack() as opened:
        scratch.mkdir(parents=True, exist_ok=True)
        file = opened.enter_context(TemporaryFile(dir=scratch))
        digest = None
        for chunk in chunks:
            hasher.update(chunk)
            if file.write(chunk) and file.tell() > limit:
                break
        else:
            file.flush()
            digest = Digest(f"sha256:{hasher.hexdigest()}")
        opened.pop_all()  # the file stays open
        return file, digest
