"""Bundle → all that is wrong with it, told without a daemon or a network.

Each tarball is read once: its sum is taken while it is walked, member by member, along the chain
from the lock over index, manifest and config to the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.index import (
    BUILDER_FILE,
    BUILDKITD_FILE,
    INDEX_FILE,
    INSTALL_FILE,
    SIGNATURE_FILE,
    SUMS_FILE,
    TOOL_FILE,
    BundledFile,
    is_partial,
    tarball_name,
)
from airgapbuild.bundle.parts import UnreadableError
from airgapbuild.bundle.reader import Bundle, summed
from airgapbuild.bundle.signature import ANY, Policy, is_signed
from airgapbuild.bundle.survey import Problem, Survey, lacking, shown, survey, with_file
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.progress import SILENT, Progress, Task
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.bundle.frames import Readable
    from airgapbuild.bundle.index import OlderBlob, RequiredBlob
    from airgapbuild.signing import Signer

_WORKERS: Final = 2
_SMALL: Final = {
    SUMS_FILE: "sums",
    SIGNATURE_FILE: "signature",
    INDEX_FILE: "index",
    LOCK_FILE: "lock",
    BUILDKITD_FILE: "builder's configuration",
    BUILDER_FILE: "builder's instance",
    INSTALL_FILE: "for a far side without airgapbuild",
    TOOL_FILE: "airgapbuild itself",
}
_NO_COPY_HELPS: Final = "its sum is right, so another copy is no better: export the bundle again"


@dataclass(frozen=True)
class CheckedFile:
    """One file that is in the bundle's folder, or should be."""

    name: str
    size: int | None
    """In bytes, as it lies there; None where it is missing."""
    what: str
    """What it is in the bundle: `lock`, `index`, …; a tarball's image and platform."""
    sha256: str | None
    """As SHA256SUMS has it; None where it says nothing of the file."""
    state: str
    """`ok`, `missing`, `wrong` (its bytes), `broken` (what it says), `foreign` or `unfinished`;
    `not checked` for a signature that nobody asked about."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Verified:
    """Every file of a bundle, and what is wrong with it."""

    folder: Path
    files: tuple[CheckedFile, ...]
    sums: bytes | None
    """SHA256SUMS, as it was read; None where it is not right."""
    bundle: Bundle | None
    """What its lock and its index say; None where one of them is not right."""
    signed: bool
    """Whether there is a signature."""
    signer: Signer | None
    """Whose it is; None where nobody asked."""
    serial: int | None

    @property
    def size(self) -> int:
        """Of all files that are there, in bytes."""
        return sum(file.size or 0 for file in self.files)

    @property
    def requires(self) -> tuple[RequiredBlob, ...]:
        """What a differential bundle leaves out, each once: whoever loads it must have it."""
        files = self.bundle.index.files if self.bundle else ()
        return tuple({blob.digest: blob for file in files for blob in file.requires}.values())

    @property
    def references(self) -> tuple[OlderBlob, ...]:
        """Older layers by which it tells some of its own, of which only the sums are proven."""
        files = self.bundle.index.files if self.bundle else ()
        return tuple({blob.digest: blob for file in files for blob in file.references}.values())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong, in the order of the files."""
        return tuple(problem for file in self.files for problem in file.problems)

    @property
    def fetch(self) -> tuple[str, ...]:
        """The files to bring over again."""
        return tuple(sorted({name for problem in self.problems for name in problem.fetch}))

    @property
    def error(self) -> AirgapbuildError | None:
        """All problems as one error: of content, where any is; None for a whole bundle."""
        if not self.problems:
            return None
        wrong = any(isinstance(problem.error, IntegrityError) for problem in self.problems)
        lines = (line for problem in self.problems for line in problem.error.lines)
        hints = [f"bring over again: {', '.join(self.fetch)}"] if self.fetch else []
        hints += sorted({problem.remedy for problem in self.problems if problem.remedy})
        return (IntegrityError if wrong else BundleError)(*lines, hint="; ".join(hints))


def verify(
    folder: Path, *, quick: bool = False, policy: Policy = ANY, progress: Progress = SILENT
) -> Verified:
    """What is right and what is wrong in a bundle's folder; only sums are looked at where `quick`.

    All of a bundle must be there: unlike for `load`, a missing tarball is a problem.

    Raises:
        BundleError: there is no such folder, or it cannot be read.
        SignatureError: the policy refuses the bundle.
    """
    found = survey(folder, policy=policy)
    problems = [*found.problems, *_missing(found)]
    files = [file for file in _here(found) if file.name != LOCK_FILE]
    files.sort(key=lambda file: -file.size)
    bundle = Bundle(folder, found.lock, found.index) if found.lock and found.index else None
    walked = None if quick else bundle
    task = progress.task("verify", sum(file.size for file in files))
    # A long frame wants 128 MiB to be decoded.
    workers = 1 if found.index and found.index.level else _WORKERS
    with pool(workers, "verify") as threads:
        for checked in threads.map(lambda file: _check(folder, file, walked, task), files):
            problems += checked
    task.done(f"{len(files)} files")
    serial = found.index.serial if found.index else None
    sums = None if found.sums is None else found.raw_sums
    rows = tuple(_rows(found, problems))
    return Verified(folder, rows, sums, bundle, is_signed(folder), found.signer, serial)


def _missing(found: Survey) -> list[Problem]:
    """The tarballs that are not there, or of which bundle.json does not know."""
    if found.index is None:
        return []
    folder, index = found.folder, found.index
    missing = []
    for file in index.files:
        names = [part.name for part in file.stored]
        if file.image and all(_size(folder / name) is None for name in names):
            missing += [lacking(folder, name) for name in names]
    for image in found.lock.image if found.lock else ():
        for locked in image.platform:
            if index.tarball(image.name, locked.platform) is None:
                error = BundleError(f"{folder}: holds no {image.name} for {locked.platform}")
                missing.append(Problem(INDEX_FILE, error, remedy="export the bundle again"))
    return missing


def _here(found: Survey) -> Iterator[BundledFile]:
    """The files that are there; of one in parts that lacks some, those that are, each by itself."""
    for file in found.listed:
        there = [part for part in file.stored if part.name in found.plain]
        if len(there) == len(file.stored):
            yield file
        else:
            for part in there:
                yield BundledFile(name=part.name, size=part.size, sha256=part.sha256)


def _check(folder: Path, file: BundledFile, bundle: Bundle | None, task: Task) -> list[Problem]:
    try:
        with summed(folder, file, task) as read:
            inside = _inside(bundle, file, read) if bundle and file.image else None
    except UnreadableError as error:
        return [with_file(error.name, error, (error.name,))]
    wrong = read.wrong()
    if inside and not wrong:
        return [Problem(file.stored[0].name, inside, remedy=_NO_COPY_HELPS)]
    return [Problem(name, error, (name,)) for name, error in wrong.items()]


def _inside(bundle: Bundle, file: BundledFile, opened: Readable) -> AirgapbuildError | None:
    """What is wrong with a tarball's content. It counts where the file's sum is right."""
    try:
        bundle.check_tarball(file, opened)
    except AirgapbuildError as error:
        return error
    return None


def _rows(found: Survey, problems: list[Problem]) -> list[CheckedFile]:
    tarballs = {
        tarball_name(image, locked.platform): f"{image.name} {locked.platform}"
        for image in (found.lock.image if found.lock else ())
        for locked in image.platform
    }
    whats = {**tarballs, **_SMALL}
    if found.index:
        whats |= {
            part.name: f"{file.image} {file.platform}"
            for file in found.index.files
            if file.image
            for part in file.stored
        }
    stored = (part.name for file in found.listed for part in file.stored)
    listed = {SUMS_FILE, INDEX_FILE, LOCK_FILE, *stored}
    listed |= {SIGNATURE_FILE} if is_signed(found.folder) else set()
    rows = []
    for name in sorted({*listed, *(problem.file for problem in problems)}):
        size = _size(found.folder / name)
        own = tuple(problem for problem in problems if problem.file == name)
        state = "ok" if name != SIGNATURE_FILE or found.signer else "not checked"
        if own:
            state = "missing" if size is None else _state(own) if name in listed else _surplus(name)
        sha256 = (found.sums or {}).get(name)
        rows.append(CheckedFile(shown(name), size, whats.get(name, ""), sha256, state, own))
    return rows


def _state(problems: tuple[Problem, ...]) -> str:
    wrong = any(isinstance(problem.error, IntegrityError) for problem in problems)
    return "wrong" if wrong else "broken"


def _surplus(name: str) -> str:
    return "unfinished" if is_partial(name) else "foreign"


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except OSError:
        return None
