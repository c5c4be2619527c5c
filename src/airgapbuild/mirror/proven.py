"""Files whose content was proven, as long as nobody touches them."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ProvenFiles:
    """Opens files, and notices where one is another than at its first time."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, ...]] = {}

    def open(self, path: Path) -> int:
        """A handle to read a file by.

        Raises:
            OSError: it cannot be opened, or has been written to or replaced.
        """
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        its = os.fstat(handle)
        seen = its.st_dev, its.st_ino, its.st_size, its.st_mtime_ns
        if self._known.setdefault(path, seen) != seen:
            os.close(handle)
            raise OSError(errno.ESTALE, "has changed since it was verified", str(path))
        return handle

    @contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        """The same handle for the length of a block."""
        handle = self.open(path)
        try:
            yield handle
        finally:
            os.close(handle)
