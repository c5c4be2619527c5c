"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airgapbuild.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_UMASK_PROOF = 0o644


def must_exist(path: Path) -> None:
    """Returns only if there is something of this name.

    Raises:
        UsageError: there is not.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder")


def home(environ: Mapping[str, str]) -> Path:
    """The user's own folder: `$HOME`, else the one that the system knows.

    Raises:
        UsageError: there is neither.
    """
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError as error:
        what = "this user has no home folder: HOME is not set, and the system knows none"
        raise UsageError(what, hint="set HOME to a folder of the user's") from error


def expanded(path: Path) -> Path:
    """The path with a leading `~` or `~user` put in; as it is where nobody knows that user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises RuntimeError


@contextmanager
def reaching(folder: Path, hint: str) -> Iterator[None]:
    """While it lasts, what the system refuses in a folder of the user's is told in words.

    Raises:
        UsageError: a file cannot be read or written, with a hint at another folder.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: {error.strerror}", hint=hint) from error


@contextmanager
def replacing(path: Path, *, mode: int = _UMASK_PROOF) -> Iterator[IO[bytes]]:
    """A new file that takes `path`'s place when the block ends well, and vanishes otherwise.

    The temporary file lies in the same folder (a rename does not cross file systems), is hidden,
    and is synced before the rename, so that a power cut leaves the old file or the new one. The
    mode is set whatever the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def write_if_changed(path: Path, content: bytes, *, mode: int = _UMASK_PROOF) -> bool:
    """Whether `path` had to be written to hold `content`; a file that holds it is left alone."""
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        pass
    with replacing(path, mode=mode) as file:
        file.write(content)
    return True
