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
    SUMS_FILE,
    is_partial,
    tarball_name,
)
from airgapbuild.bundle.reader import Bundle, proven
from airgapbuild.bundle.survey import Problem, Survey, lacking, shown, survey
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.progress import SILENT, Progress, Task
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.bundle.frames import Readable
    from airgapbuild.bundle.index import BundledFile, OlderBlob, RequiredBlob

_WORKERS: Final = 2
_SMALL: Final = {
    SUMS_FILE: "sums",
    INDEX_FILE: "index",
    LOCK_FILE: "lock",
    BUILDKITD_FILE: "builder's configuration",
    BUILDER_FILE: "builder's instance",
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
    state: str
    """`ok`, `missing`, `wrong` (its bytes), `broken` (what it says), `foreign` or `unfinished`."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Verified:
    """Every file of a bundle, and what is wrong with it."""

    folder: Path
    files: tuple[CheckedFile, ...]
    requires: tuple[RequiredBlob, ...] = ()
    """What a differential bundle leaves out, each once: whoever loads it must have it."""
    references: tuple[OlderBlob, ...] = ()
    """Older layers by which it tells some of its own, of which only the sums are proven here."""

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


def verify(folder: Path, *, quick: bool = False, progress: Progress = SILENT) -> Verified:
    """What is right and what is wrong in a bundle's folder; only sums are looked at where `quick`.

    All of a bundle must be there: unlike for `load`, a missing tarball is a problem.

    Raises:
        BundleError: there is no such folder, or it cannot be read.
    """
    found = survey(folder)
    problems = [*found.problems, *_missing(found)]
    files = [file for file in found.listed if file.name in found.plain and file.name != LOCK_FILE]
    files.sort(key=lambda file: -file.size)
    bundle = None
    if found.lock and found.index and not quick:
        bundle = Bundle(folder, found.lock, found.index)
    task = progress.task("verify", sum(file.size for file in files))
    with pool(_WORKERS, "verify") as threads:
        checked = threads.map(lambda file: _check(folder / file.name, file, bundle, task), files)
        problems += [problem for problem in checked if problem]
    task.done(f"{len(files)} files")
    tarballs = found.index.files if found.index else ()
    requires = {blob.digest: blob for file in tarballs for blob in file.requires}
    references = {blob.digest: blob for file in tarballs for blob in file.references}
    return Verified(
        folder,
        tuple(_rows(found, problems)),
        tuple(requires.values()),
        tuple(references.values()),
    )


def _missing(found: Survey) -> list[Problem]:
    """The tarballs that are not there, or of which bundle.json does not know."""
    if found.index is None:
        return []
    folder, index = found.folder, found.index
    tarballs = (file.name for file in index.files if file.image)
    missing = [lacking(folder, name) for name in tarballs if _size(folder / name) is None]
    for image in found.lock.image if found.lock else ():
        for locked in image.platform:
            if index.tarball(image.name, locked.platform) is None:
                error = BundleError(f"{folder}: holds no {image.name} for {locked.platform}")
                missing.append(Problem(INDEX_FILE, error, remedy="export the bundle again"))
    return missing


def _check(path: Path, file: BundledFile, bundle: Bundle | None, task: Task) -> Problem | None:
    try:
        with proven(path, file, task) as opened:
            wrong = _inside(bundle, file, opened) if bundle and file.image else None
    except AirgapbuildError as error:
        return Problem(file.name, error, (file.name,))
    return Problem(file.name, wrong, remedy=_NO_COPY_HELPS) if wrong else None


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
        whats |= {f.name: f"{f.image} {f.platform}" for f in found.index.files if f.image}
    listed = {SUMS_FILE, INDEX_FILE, LOCK_FILE, *(file.name for file in found.listed)}
    rows = []
    for name in sorted({*listed, *(problem.file for problem in problems)}):
        size = _size(found.folder / name)
        own = tuple(problem for problem in problems if problem.file == name)
        state = "ok"
        if own:
            state = "missing" if size is None else _state(own) if name in listed else _surplus(name)
        rows.append(CheckedFile(shown(name), size, whats.get(name, ""), state, own))
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
