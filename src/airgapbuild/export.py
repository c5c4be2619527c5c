"""Lock + source → bundle: every blob fetched once, verified, and put where it belongs."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Final

from airgapbuild.builder.buildkitd import render
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.bundle.index import (
    BUILDER_FILE,
    BUILDKITD_FILE,
    INDEX_FILE,
    SUMS_FILE,
    VERSION,
    BundledFile,
    BundleIndex,
    parse_sums,
    tarball_name,
)
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.bundle.writer import PARTIAL, Section, Tarball, small_file, write_index
from airgapbuild.errors import AirgapbuildError, BundleError
from airgapbuild.files import write_if_changed
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform, render_lock
from airgapbuild.oci.archive import archive_members
from airgapbuild.oci.digest import digest_of
from airgapbuild.pins import read_pinned
from airgapbuild.progress import SILENT, Progress, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference
    from airgapbuild.oci.source import Source

_WORKERS: Final = 4


@dataclass(frozen=True)
class Exported:
    """What an export left in the bundle's folder."""

    index: BundleIndex
    written: tuple[str, ...]
    """The tarballs that were made; the others were there, and right."""
    fetched: int
    """Bytes of blobs that came from the source."""
    changed: bool
    """Whether any file had to be touched."""


@dataclass(frozen=True)
class _Job:
    """A blob to fetch once, and all the places that it goes to."""

    reference: Reference
    section: Section
    places: tuple[tuple[Tarball, Section], ...]


_Pin = tuple[LockedImage, LockedPlatform]


def export(lock: Lock, source: Source, folder: Path, *, progress: Progress = SILENT) -> Exported:
    """The bundle of a lock, in `folder`.

    Tarballs that are there and right are left alone; files of an older bundle that do not belong
    to this one go away. The old bundle stays whole until everything new has arrived; a run that is
    killed while it renames leaves sums that do not match, which every reader refuses.

    Raises:
        RegistryError, IntegrityError: something cannot be had, or is not what the lock says.
        LockError: the lock's parts contradict each other.
        BundleError: the folder cannot be written, or holds something that is not ours.
    """
    pins = [(image, locked) for image in lock.image for locked in image.platform]
    try:
        with _claimed(folder):
            foreign = _foreign(folder, {_name(pin) for pin in pins})
            old = _bundle_there(folder, progress)
            kept = {_name(pin): file for pin in pins if (file := _kept(old, pin))}
            missing = [pin for pin in pins if _name(pin) not in kept]
            made, fetched = _make(missing, source, folder, progress)
            files = [{**kept, **made}[_name(pin)] for pin in pins]
            index, changed = _finish(lock, files, folder, foreign)
    except OSError as error:
        raise BundleError(f"{error.filename or folder}: {error.strerror}") from error
    return Exported(index, tuple(made), fetched, changed or bool(made))


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder, made where it was missing, with no other export at work in it."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder}: is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BundleError(f"{folder}: another export is at work here") from None
    finally:
        os.close(handle)


def _foreign(folder: Path, wanted: set[str]) -> set[str]:
    """The files of an older bundle that are not of this one; a killed run's parts are removed.

    Raises:
        BundleError: the folder holds something that no bundle of ours left there.
    """
    try:
        ours = set(parse_sums((folder / SUMS_FILE).read_bytes(), SUMS_FILE))
    except (FileNotFoundError, BundleError):
        ours = set()
    small = {LOCK_FILE, BUILDKITD_FILE, BUILDER_FILE, INDEX_FILE, SUMS_FILE}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") and path.name.endswith(PARTIAL):
            path.unlink()
        elif path.name not in ours | wanted | small:
            hint = "a bundle has a folder of its own: choose another with -o, or move this away"
            raise BundleError(f"{path}: is not a file of a bundle", hint=hint)
    return ours - wanted - small


def _bundle_there(folder: Path, progress: Progress) -> Bundle | None:
    """The bundle that is in the folder already, where it is whole and right."""
    if not any(folder.iterdir()):
        return None
    try:
        bundle = open_bundle(folder)
        bundle.check_files(progress=progress)
    except AirgapbuildError as error:
        progress.detail(f"not reused: {error.message}")
        return None
    return bundle


def _kept(old: Bundle | None, pin: _Pin) -> BundledFile | None:
    """The tarball of the old bundle that is the same, since it comes from the same pins."""
    image, locked = pin
    before = old.lock.find(image.name) if old else None
    if old is None or before is None or before.on(locked.platform) != locked:
        return None
    if _decisive(before, locked) != _decisive(image, locked) or not old.has(before, locked):
        return None
    return old.index.tarball(image.name, locked.platform)


def _decisive(image: LockedImage, locked: LockedPlatform) -> tuple[object, ...]:
    """What decides a tarball's name and bytes, beside the platform's own pins."""
    return image.names, image.version_tag, image.top, image.referrers_of(locked)


def _name(pin: _Pin) -> str:
    return tarball_name(pin[0], pin[1].platform)


def _make(
    pins: list[_Pin], source: Source, folder: Path, progress: Progress
) -> tuple[dict[str, BundledFile], int]:
    """The tarballs of these pins, by name, and the bytes fetched; all of them, or none."""
    if not pins:
        return {}, 0
    pool = ThreadPoolExecutor(_WORKERS, "export")
    stop = Event()
    tarballs: list[Tarball] = []
    try:
        for pin, image in zip(pins, pool.map(lambda p: read_pinned(source, *p), pins), strict=True):
            tarballs.append(_tarball(folder, pin, image))
        jobs = _jobs(zip(pins, tarballs, strict=True))
        size = sum(job.section.size for job in jobs)
        task = progress.task("fetch", size)
        arrived = Event()
        _sum_up(
            tarballs,
            [pool.submit(_fetch, job, source, task, arrived, stop) for job in jobs],
            arrived,
        )
        task.done(f"{len(jobs)} blobs")
        return {tarball.name: tarball.commit() for tarball in tarballs}, size
    except BaseException as error:
        # The other transfers end at their next chunk; who pressed Ctrl-C does not wait for it.
        stop.set()
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        for tarball in tarballs:
            tarball.abandon()
        raise
    finally:
        pool.shutdown(wait=False)


def _tarball(folder: Path, pin: _Pin, image: PlatformImage) -> Tarball:
    locked_image, locked = pin
    members = archive_members(image, locked_image.names)
    return Tarball(folder, _name(pin), members, locked_image.name, locked.platform)


def _jobs(pairs: Iterable[tuple[_Pin, Tarball]]) -> list[_Job]:
    places: dict[Digest, list[tuple[Tarball, Section]]] = {}
    references: dict[Digest, Reference] = {}
    for (image, _), tarball in pairs:
        for section in tarball.missing:
            if section.digest:
                places.setdefault(section.digest, []).append((tarball, section))
                references.setdefault(section.digest, image.ref)
    return [_Job(references[digest], found[0][1], tuple(found)) for digest, found in places.items()]


def _sum_up(tarballs: list[Tarball], fetches: list[Future[None]], arrived: Event) -> None:
    """Takes the tarballs' sums beside the threads that fetch, until all have ended well."""
    running = set(fetches)
    for fetch in fetches:
        fetch.add_done_callback(lambda _: arrived.set())
    while running:
        arrived.wait()
        arrived.clear()
        ended = {fetch for fetch in running if fetch.done()}
        for fetch in ended:
            fetch.result()
        running -= ended
        for tarball in tarballs:
            tarball.sum_up()


def _fetch(job: _Job, source: Source, task: Task, arrived: Event, stop: Event) -> None:
    if job.section.blob is None:
        return
    position = 0
    for chunk in source.blob(job.reference, job.section.blob):
        if stop.is_set():
            return
        for tarball, section in job.places:
            tarball.write(section, position, chunk)
        position += len(chunk)
        task.advance(len(chunk))
        arrived.set()


def _finish(
    lock: Lock, tarballs: list[BundledFile], folder: Path, foreign: set[str]
) -> tuple[BundleIndex, bool]:
    """Writes the small files and removes an older bundle's; whether anything had to change."""
    raw_lock = render_lock(lock)
    contents = {LOCK_FILE: raw_lock, BUILDKITD_FILE: render(lock.buildkitd)}
    if instance := wanted_instance(lock):
        contents[BUILDER_FILE] = instance.document()
    small = [small_file(name, content) for name, content in contents.items()]
    files = tuple(sorted((*tarballs, *small), key=lambda file: file.name))
    index = BundleIndex(version=VERSION, name=lock.name, lock=digest_of(raw_lock), files=files)
    written = [write_if_changed(folder / name, content) for name, content in contents.items()]
    gone = foreign | ({BUILDER_FILE} - contents.keys())
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    changed = write_index(folder, index)
    return index, changed or any(written)
