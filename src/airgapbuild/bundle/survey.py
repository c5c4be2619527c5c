"""What lies in a bundle's folder, and all that is wrong there before a tarball is read.

SHA256SUMS vouches for bundle.json and airgapbuild.lock, bundle.json for the other files. Where one
of the three is damaged, the others still tell about the rest: whoever has to bring files over again
wants to hear of all of them at once.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from airgapbuild.bundle.index import (
    FETCH_AGAIN,
    INDEX_FILE,
    SIGNATURE_FILE,
    SUMS_FILE,
    BundledFile,
    BundleIndex,
    is_partial,
    parse_bundle_index,
    parse_sums,
    sha256_of,
    whole_name,
)
from airgapbuild.bundle.parts import UnreadableError
from airgapbuild.bundle.signature import ANY, Policy
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError
from airgapbuild.files import mode_of
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.lockfile import Lock, parse_lock
from airgapbuild.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from airgapbuild.signing import Signer

_DOCUMENTS: Final = frozenset({SUMS_FILE, INDEX_FILE, LOCK_FILE})
_WANTED: Final = "give the folder that `airgapbuild export` wrote"
_MAX_SMALL_FILE: Final = 16 << 20
_MOST_NAMED: Final = 3
_T = TypeVar("_T")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a file, and what mends it: files brought over again, or else."""

    file: str
    error: AirgapbuildError
    fetch: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Survey:
    """A bundle's folder: its documents, as far as they are right, and what else is there."""

    folder: Path
    raw_sums: bytes | None
    """SHA256SUMS as it was read, whether it is right or not."""
    sums: Mapping[str, str] | None
    index: BundleIndex | None
    lock: Lock | None
    plain: frozenset[str]
    """The names of the plain files."""
    problems: tuple[Problem, ...]
    """All that is wrong. A tarball may be missing: a receiver may take over only some."""
    signer: Signer | None = None
    """Who has signed the sums; None where nobody asked."""

    @property
    def listed(self) -> tuple[BundledFile, ...]:
        """The files that a document vouches for: bundle.json, where it cannot be had the sums."""
        if self.index:
            return self.index.files
        return tuple(
            BundledFile(name=name, size=(self.folder / name).stat().st_size, sha256=sha256)
            for name, sha256 in (self.sums or {}).items()
            if name in self.plain and name != INDEX_FILE
        )


def survey(folder: Path, *, besides: Collection[str] = (), policy: Policy = ANY) -> Survey:
    """What lies in a folder; of the files in `besides` nothing is said.

    Raises:
        BundleError: there is no such folder, it cannot be read, or it is no bundle's.
        SignatureError: the policy refuses the bundle; nothing more is read of it then.
    """
    every = _kinds(folder)
    if not _DOCUMENTS & every.keys():
        raise BundleError(f"{folder}: is no bundle", hint=_bundle_hint(folder, every))
    kinds = {name: mode for name, mode in every.items() if name not in besides}
    found = _Findings()
    sums_path, index_path = folder / SUMS_FILE, folder / INDEX_FILE
    raw = found.get(SUMS_FILE, lambda: _read(sums_path))
    # These bytes are verified, and these are parsed: whatever becomes of the file meanwhile.
    signer = policy.signer(folder, raw)
    sums = None
    if raw is not None:
        sums = found.get(SUMS_FILE, lambda: parse_sums(raw, str(sums_path)))
    index = found.get(
        INDEX_FILE,
        lambda: parse_bundle_index(_vouched(folder, INDEX_FILE, sums), str(index_path)),
        fetch=(INDEX_FILE, SUMS_FILE),
    )
    if index is not None:
        policy.check_serial(index.serial, str(index_path))
    lock = found.get(LOCK_FILE, lambda: _lock(folder, sums, index))
    if sums is not None and index is not None:
        found.get(SUMS_FILE, lambda: _agree(folder, sums, index))
    if sums is not None or index is not None:
        files = index.files if index else ()
        stored = {part.name for file in files for part in file.stored}
        tarballs = {part.name for file in files if file.image for part in file.stored}
        required = {*stored, *(sums or ())} - tarballs - _DOCUMENTS
        incomplete = {name for file in files for name in _lacking_parts(file, kinds)}
        _look_around(folder, kinds, required | incomplete, tarballs | {SIGNATURE_FILE}, found)
    plain = frozenset(name for name, mode in kinds.items() if stat.S_ISREG(mode))
    return Survey(folder, raw, sums, index, lock, plain, tuple(found.problems), signer)


def must_be_folder(path: Path) -> None:
    """Returns only if it is a folder.

    Raises:
        BundleError: there is nothing of this name, it is a file, or the system does not tell.
    """
    mode = mode_of(path, BundleError)
    if mode is None or not stat.S_ISDIR(mode):
        what = "there is no such folder" if mode is None else "is not a folder"
        raise BundleError(f"{path}: {what}", hint=_WANTED)


def lacking(folder: Path, name: str) -> Problem:
    """A file is not there."""
    return Problem(name, BundleError(f"{folder / name}: is missing", hint=FETCH_AGAIN), (name,))


def with_file(name: str, error: AirgapbuildError, fetch: tuple[str, ...]) -> Problem:
    """What is wrong with a file; one that may not be read is no better when it comes again."""
    if isinstance(error.__cause__, PermissionError):
        return Problem(name, error, remedy=error.hint or "")
    return Problem(name, error, fetch)


def shown(name: str) -> str:
    """A file's name as a message may carry it: a foreign one may hold anything."""
    return name if name.isprintable() else ascii(name)


def compare(path: Path, found: object, wanted: object, what: str) -> None:
    """Returns only if what a file is and what it should be are the same.

    Raises:
        IntegrityError: they are not.
    """
    if found != wanted:
        raise IntegrityError(f"{path}: {what}: {found}, expected {wanted}", hint=FETCH_AGAIN)


@dataclass
class _Findings:
    """Gathers what is wrong instead of stopping at the first."""

    problems: list[Problem] = field(default_factory=list)

    def get(self, name: str, read: Callable[[], _T], fetch: tuple[str, ...] = ()) -> _T | None:
        """What `read` gives; None where it fails, as a problem of the file."""
        try:
            return read()
        except AirgapbuildError as error:
            self.problems.append(with_file(name, error, fetch or (name,)))
            return None


def _kinds(folder: Path) -> dict[str, int]:
    """The names in a folder, sorted, with their modes."""
    must_be_folder(folder)
    try:
        return {path.name: path.lstat().st_mode for path in sorted(folder.iterdir())}
    except OSError as error:
        raise BundleError(f"{error.filename}: {error.strerror}") from error


def _bundle_hint(folder: Path, names: Iterable[str]) -> str:
    """What to give instead of a folder that is no bundle: often it is the one above."""
    # Not pathlib's, which raises: a stick's lost+found is root's.
    bundles = (name for name in names if os.path.isfile(folder / name / SUMS_FILE))  # noqa: PTH113
    inside = [str(folder / shown(name)) for name in bundles]
    if not inside:
        return f"{_WANTED}, such as bundles/builders"
    more = " …" if len(inside) > _MOST_NAMED else ""
    return f"give a bundle in it: {', '.join(inside[:_MOST_NAMED])}{more}"


def _lock(folder: Path, sums: Mapping[str, str] | None, index: BundleIndex | None) -> Lock:
    raw = _vouched(folder, LOCK_FILE, sums)
    if index:
        compare(folder / LOCK_FILE, digest_of(raw), index.lock, INDEX_FILE)
    return parse_lock(raw, str(folder / LOCK_FILE))


def _agree(folder: Path, sums: Mapping[str, str], index: BundleIndex) -> None:
    listed = {part.name: part.sha256 for file in index.files for part in file.stored}
    listed[INDEX_FILE] = sums[INDEX_FILE]
    names_told = [name for file in index.files for name in {file.name, *_names(file)}]
    names = ", ".join(
        sorted(name for name in {*listed, *sums} if listed.get(name) != sums.get(name))
    )
    if names or len({INDEX_FILE, *names_told}) <= len(names_told):
        raise BundleError(
            f"{folder}: {SUMS_FILE} and {INDEX_FILE} do not agree" + (names and f" on {names}"),
            hint=FETCH_AGAIN,
        )


def _names(file: BundledFile) -> tuple[str, ...]:
    return tuple(part.name for part in file.stored)


def _lacking_parts(file: BundledFile, kinds: Mapping[str, int]) -> set[str]:
    """The parts that are not there of a file of which others are: all of it or nothing."""
    names = set(_names(file))
    return names - kinds.keys() if names & kinds.keys() else set()


def _look_around(
    folder: Path, kinds: Mapping[str, int], required: set[str], optional: set[str], found: _Findings
) -> None:
    """Finds what is there and should not be, and the other way round."""
    for name, mode in kinds.items():
        if name not in required | optional | _DOCUMENTS:
            is_part = whole_name(name) in {whole_name(listed) for listed in optional}
            found.problems.append(_foreign(folder, name, is_part=is_part))
        elif name not in _DOCUMENTS and not stat.S_ISREG(mode):
            error = BundleError(f"{folder / name}: not a plain file")
            found.problems.append(Problem(name, error, (name,)))
    for name in sorted(required - kinds.keys()):
        found.problems.append(lacking(folder, name))


def _foreign(folder: Path, name: str, *, is_part: bool) -> Problem:
    hint = "a bundle's folder holds nothing else: move it away"
    if is_part:
        hint = "move it away; what a cut-off split or join left, goes when that is run again"
    if is_partial(name):
        hint = "an export was cut off here: run it again until it ends well"
    what = f"{folder / shown(name)}: does not belong to the bundle"
    return Problem(name, BundleError(what, hint=hint), remedy=hint)


def _vouched(folder: Path, name: str, sums: Mapping[str, str] | None) -> bytes:
    """A small file, checked against its line in SHA256SUMS, where those can be read."""
    raw = _read(folder / name)
    if sums is None:
        return raw
    if name not in sums:
        raise BundleError(f"{folder / SUMS_FILE}: has no line for {name}", hint=FETCH_AGAIN)
    compare(folder / name, sha256_of(digest_of(raw)), sums[name], "sha256")
    return raw


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"{path}: not a plain file")
        with path.open("rb") as file:
            raw = file.read(_MAX_SMALL_FILE + 1)
    except FileNotFoundError:
        raise BundleError(f"{path}: is missing", hint=FETCH_AGAIN) from None
    except OSError as error:
        raise UnreadableError(path, error) from error
    if len(raw) > _MAX_SMALL_FILE:
        raise BundleError(f"{path}: more than {_MAX_SMALL_FILE} bytes")
    return raw
