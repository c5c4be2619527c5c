"""Lock + source → bundle: every blob fetched once, verified, and put where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.builder.buildkitd import render
from airgapbuild.builder.wanted import wanted_instance
from airgapbuild.bundle.index import (
    BUILDER_FILE,
    BUILDKITD_FILE,
    INDEX_FILE,
    INSTALL_FILE,
    SIGNATURE_FILE,
    SUMS_FILE,
    TOOL_FILE,
    VERSION,
    BundledFile,
    BundleIndex,
    constructed,
    is_partial,
    parse_bundle_index,
    under_construction,
)
from airgapbuild.bundle.packaging import DEFAULT_PACKAGING, Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.bundle.writer import claimed, large_file, small_file, write_index
from airgapbuild.errors import AirgapbuildError, BundleError
from airgapbuild.far_side.script import install_script
from airgapbuild.far_side.tool import Tool
from airgapbuild.fetch import DEFAULT_PACE, Pace
from airgapbuild.files import is_folder, mode_of, reaching, write_if_changed
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform, render_lock
from airgapbuild.oci.digest import digest_of
from airgapbuild.packing import Pin, name_of, pack
from airgapbuild.progress import SILENT, Progress
from airgapbuild.repack import repack

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.oci.source import RangedSource

_SMALL = {
    *(LOCK_FILE, BUILDKITD_FILE, BUILDER_FILE, INSTALL_FILE, TOOL_FILE),
    *(INDEX_FILE, SUMS_FILE, SIGNATURE_FILE),
}
_ELSEWHERE = "-o FOLDER writes elsewhere"


@dataclass(frozen=True)
class Exported:
    """What an export left in the bundle's folder."""

    index: BundleIndex
    written: tuple[str, ...]
    """The tarballs that were made or packed anew; the others were there, and right."""
    fetched: int
    """Bytes of blobs that came from the source."""
    changed: bool
    """Whether any file had to be touched."""
    lost_serial: int | None = None
    """The serial of the bundle that was there, where the new one has none."""


def export(
    lock: Lock,
    source: RangedSource,
    folder: Path,
    *,
    packaging: Packaging = DEFAULT_PACKAGING,
    progress: Progress = SILENT,
    pace: Pace = DEFAULT_PACE,
) -> Exported:
    """The bundle of a lock, in `folder`.

    Tarballs that are there and right are left alone, or packed anew where they lie if the packaging
    is another now; files of an older bundle that do not belong to this one go away. The old bundle
    stays whole until everything new has arrived; a run that is killed while it renames leaves sums
    that do not match, which every reader refuses. What a run has left that was killed, or that a
    registry failed, is gone on from.

    Raises:
        RegistryError, IntegrityError: something cannot be had, or is not what the lock says.
        LockError: the lock's parts contradict each other.
        UsageError: the folder cannot be written, or the tool is wanted, and cannot be made here.
        BundleError: the folder holds something that is not ours.
    """
    pins = [(image, locked) for image in lock.image for locked in image.platform]
    tool = Tool.of(locked.platform for _, locked in pins) if packaging.with_tool else None
    with reaching(folder, _ELSEWHERE):
        _make_folder(folder)
        with claimed(folder):
            before = _index_there(folder)
            foreign = _foreign(folder, before, {name_of(pin) for pin in pins})
            old = _bundle_there(folder, progress)
            if old and packaging.against and not old.index.against:
                raise BundleError(
                    f"{folder}: holds a whole bundle, which a differential one would replace",
                    hint="choose another folder with -o",
                )
            old, packed = _packed(old, pins, packaging, progress)
            kept = {name_of(pin): file for pin in pins if (file := _kept(old, pin, packaging))}
            missing = [pin for pin in pins if name_of(pin) not in kept]
            _go_on(folder, {name_of(pin) for pin in missing}, old)
            made, fetched = pack(missing, source, folder, packaging, progress, pace)
            files = [{**kept, **made}[name_of(pin)] for pin in pins]
            files += _with_tool(tool, folder, old, progress)
            index, changed = _finish(lock, packaging, files, folder, foreign)
    written = (*packed, *made)
    lost = before.serial if before and packaging.serial is None else None
    return Exported(index, written, fetched, changed or bool(written), lost)


def _make_folder(folder: Path) -> None:
    if mode_of(folder) is not None and not is_folder(folder):
        raise BundleError(f"{folder}: is not a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _foreign(folder: Path, before: BundleIndex | None, wanted: set[str]) -> set[str]:
    """The files of an older bundle: those whose names this one does not use have to go.

    What SHA256SUMS says does not count: other folders have one, of files that are not ours.

    Raises:
        BundleError: the folder holds something that no bundle of ours left there.
    """
    there = {path.name for path in folder.iterdir() if not is_partial(path.name)}
    small = _SMALL if there & {INDEX_FILE, LOCK_FILE} else set()
    listed = {part.name for file in before.files for part in file.stored} if before else set()
    tarballs = {constructed(name) for name in listed | wanted}
    for name in sorted(there - small):
        if constructed(name) not in tarballs:
            hint = "a bundle has a folder of its own: choose another with -o, or move this away"
            raise BundleError(f"{folder / name}: is not a file of a bundle", hint=hint)
    return there - small


def _index_there(folder: Path) -> BundleIndex | None:
    """What the bundle there says of itself; None where there is none, or it cannot be read."""
    try:
        return parse_bundle_index((folder / INDEX_FILE).read_bytes(), INDEX_FILE)
    except (FileNotFoundError, AirgapbuildError):
        return None


def _bundle_there(folder: Path, progress: Progress) -> Bundle | None:
    """The bundle that is in the folder already, where it is whole and right."""
    names = [path.name for path in folder.iterdir()]
    partial = {name for name in names if is_partial(name)}
    if partial.issuperset(names):
        return None
    try:
        bundle = open_bundle(folder, besides=partial)
        bundle.check_files(progress=progress)
    except AirgapbuildError as error:
        progress.detail(f"not reused: {error.message}")
        return None
    return bundle


def _go_on(folder: Path, missing: set[str], old: Bundle | None) -> None:
    """Leaves of killed runs what the tarballs that are still to be made can go on from.

    A tarball that no sums vouch for is as good as one under construction, and so is a part of one.
    """
    for path in sorted(folder.iterdir()):
        ours = constructed(path.name) in missing
        if is_partial(path.name) and not ours:
            path.unlink()
        elif ours and old is None and not is_partial(path.name):
            unfinished = folder / under_construction(path.name)
            if not unfinished.exists():
                path.rename(unfinished)


def _packed(
    old: Bundle | None, pins: list[Pin], packaging: Packaging, progress: Progress
) -> tuple[Bundle | None, tuple[str, ...]]:
    """The old bundle with those of its tarballs in the new packaging that stay, and their names."""
    if old is None:
        return None, ()
    staying = {name_of(pin) for pin in pins if _kept(old, pin, packaging)}
    return repack(old, packaging.part_size, staying, progress=progress)


def _kept(old: Bundle | None, pin: Pin, packaging: Packaging) -> BundledFile | None:
    """The tarball of the old bundle that is the same: of the same pins, packed in the same way."""
    image, locked = pin
    before = old.lock.find(image.name) if old else None
    if old is None or before is None or before.on(locked.platform) != locked:
        return None
    if old.index.level != packaging.compact_level:
        return None
    if _decisive(before, locked) != _decisive(image, locked) or not old.has(before, locked):
        return None
    documents = old.image(before, locked)
    left_out = packaging.left_out(*pin, documents)
    told_by = packaging.told_by(*pin, documents, left_out)
    file = old.index.tarball(image.name, locked.platform)
    if file is None or file.requires != left_out:
        return None
    told = {blob.digest: blob.reference for blob in file.blobs if blob.reference}
    if told != {digest: layer.diff_id for digest, layer in told_by.items()}:
        return None
    return file


def _decisive(image: LockedImage, locked: LockedPlatform) -> tuple[object, ...]:
    """What decides a tarball's name and bytes, beside the platform's own pins."""
    return image.names, image.version_tag, image.top, image.referrers_of(locked)


def _with_tool(
    tool: Tool | None, folder: Path, old: Bundle | None, progress: Progress
) -> list[BundledFile]:
    """The tool that is there where it is the same, else a new one; nothing where none is wanted."""
    if tool is None:
        return []
    before = old.index.file(TOOL_FILE) if old else None
    if before and tool.is_in(folder / TOOL_FILE):
        return [before]
    task = progress.task(TOOL_FILE)
    tool.write(folder / TOOL_FILE)
    task.done(f"{len(tool.pins)} packages")
    return [large_file(folder, TOOL_FILE)]


def _finish(
    lock: Lock,
    packaging: Packaging,
    large: list[BundledFile],
    folder: Path,
    foreign: set[str],
) -> tuple[BundleIndex, bool]:
    """Writes the small files and removes an older bundle's; whether anything had to change."""
    raw_lock = render_lock(lock)
    contents = {
        LOCK_FILE: raw_lock,
        BUILDKITD_FILE: render(lock.buildkitd),
        INSTALL_FILE: install_script(),
    }
    if instance := wanted_instance(lock):
        contents[BUILDER_FILE] = instance.document()
    small = [small_file(name, content) for name, content in contents.items()]
    files = tuple(sorted((*large, *small), key=lambda file: file.name))
    index = BundleIndex(
        version=VERSION,
        name=lock.name,
        serial=packaging.serial,
        layers="compact" if packaging.compact_level else None,
        level=packaging.compact_level,
        lock=digest_of(raw_lock),
        against=packaging.against.sorted_bases if packaging.against else (),
        files=files,
    )
    written = [write_if_changed(folder / name, content) for name, content in contents.items()]
    stored = {part.name for file in files for part in file.stored}
    for name in (foreign | {BUILDER_FILE, TOOL_FILE}) - stored:
        (folder / name).unlink(missing_ok=True)
    changed = write_index(folder, index)
    return index, changed or any(written)
