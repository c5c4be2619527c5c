"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airgapbuild.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airgapbuild.errors import AirgapbuildError

_UMASK_PROOF = 0o644


def mode_of(path: Path, refused: type[AirgapbuildError] = UsageError) -> int | None:
    """The mode of what is at a path, behind links; None where there is nothing.

    pathlib's `exists`, `is_dir` and `is_file` raise OSError where the system does not tell: a
    folder of another user's, a name that is too long.

    Raises:
        UsageError, or `refused`: the system does not tell.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise refused(f"{path}: {error.strerror}") from error


def is_folder(path: Path, refused: type[AirgapbuildError] = UsageError) -> bool:
    """Whether a folder is there; see `mode_of`."""
    mode = mode_of(path, refused)
    return mode is not None and stat.S_ISDIR(mode)


def is_file(path: Path, refused: type[AirgapbuildError] = UsageError) -> bool:
    """Whether a plain file is there; see `mode_of`."""
    mode = mode_of(path, refused)
    return mode is not None and stat.S_ISREG(mode)


def must_exist(path: Path) -> None:
    """Returns only if there is something of this name.

    Raises:
        UsageError: there is not, or the system does not tell.
    """
    if mode_of(path) is None:
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
    """Whether `path` had to be written to hold `content`; a file that holds it is left alone.

    A link stays, and what it leads to is written. What is no plain file (a pipe, a terminal, an
    open file of this process by its number, such as /dev/stdout) is given the content as it is.
    """
    try:
        is_plain = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        is_plain = None
    number = _number(path)
    if number is not None or is_plain is False:
        with open(path if number is None else os.dup(number), "wb") as stream:  # noqa: PTH123
            stream.write(content)
        return True
    target = Path(os.path.realpath(path))
    if is_plain and _holds(target, content):
        return False
    with replacing(target, mode=mode) as file:
        file.write(content)
    return True


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has these bytes and no more; a longer one is not read to its end."""
    with path.open("rb") as file:
        return file.read(len(content) + 1) == content


def _number(path: Path) -> int | None:
    """By which number this process has open what a path names; None for a path of its own.

    Opened again by such a name, a file would be written from its start, over what it has.
    """
    open_files = Path(f"/proc/{os.getpid()}/fd")
    while path.is_symlink():
        if path.parent.resolve() == open_files:
            return int(path.name)
        path = path.parent / path.readlink()
    return None
