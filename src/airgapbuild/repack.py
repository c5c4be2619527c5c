"""Bundle → the same bundle with its tarballs in parts of another size, or in one piece.

A tarball is read, checked, and written anew beside itself, one at a time: there must be room for
the largest. It goes away only when the new files are on disk and bundle.json and SHA256SUMS speak
of them, so a run that is killed loses nothing, and the next one goes on.

Two files cannot change at one moment. So the new SHA256SUMS lies ready, under a hidden name, before
bundle.json changes: a run that finds it, and in it the sum of the bundle.json that is there, puts
it in its place.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.index import (
    INDEX_FILE,
    SIGNATURE_FILE,
    SUMS_FILE,
    BundledFile,
    constructed,
    is_partial,
    parse_sums,
    partial_name,
    sha256_of,
)
from airgapbuild.bundle.parts import PartWriter, part_lengths
from airgapbuild.bundle.reader import Bundle, open_bundle, peek, summed
from airgapbuild.bundle.survey import compare, must_be_folder
from airgapbuild.bundle.writer import claimed, sums_of, write_index
from airgapbuild.errors import BundleError
from airgapbuild.files import reaching, write_if_changed
from airgapbuild.oci.digest import digest_of
from airgapbuild.progress import SILENT, Progress
from airgapbuild.words import count_words

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from airgapbuild.progress import Task

_READ: Final = 1 << 20
_STAGED: Final = partial_name(SUMS_FILE)
_ELSEWHERE: Final = "copy the bundle to a folder that can be written, and has room"


@dataclass(frozen=True)
class Repacked:
    """A bundle whose tarballs are packed as was asked."""

    bundle: Bundle
    written: tuple[str, ...]
    """The tarballs that were packed otherwise before."""
    unsigned: bool
    """Whether there was a signature, which went with the old SHA256SUMS."""


def repack_folder(folder: Path, part_size: int | None, *, progress: Progress = SILENT) -> Repacked:
    """The bundle in a folder, its tarballs in parts of `part_size` bytes; whole where None.

    Raises:
        UsageError: the folder cannot be read or written.
        BundleError: it is no bundle, a tarball is missing, or there would be too many parts.
        IntegrityError: a file is not what the sums say. The tarballs before it are packed anew.
    """
    with reaching(folder, _ELSEWHERE):
        must_be_folder(folder)
        with claimed(folder):
            bundle = _sound(folder, progress)
            names = {file.name for file in bundle.index.files if file.image}
            signed = (folder / SIGNATURE_FILE).exists()
            bundle, written = repack(bundle, part_size, names, progress=progress)
    return Repacked(bundle, written, unsigned=signed and bool(written))


def repack(
    bundle: Bundle, part_size: int | None, names: Collection[str], *, progress: Progress = SILENT
) -> tuple[Bundle, tuple[str, ...]]:
    """The bundle, its tarballs of these names in the new packing, and which of them had another.

    All are there, and nobody else is at work in the folder.

    Raises:
        BundleError, IntegrityError: see `repack_folder`.
    """
    wanted = [
        file
        for file in bundle.index.files
        if file.name in names and _lengths(file) != part_lengths(file.name, file.size, part_size)
    ]
    if not wanted:
        return bundle, ()
    task = progress.task("repack", sum(file.size for file in wanted))
    for file in wanted:
        if file.parts and file.size > (part_size or file.size):
            # Parts of the old size and of the new one have the same names.
            bundle = _repacked(bundle, file, None, progress.task(f"join {file.name}", file.size))
        current = bundle.index.file(file.name) or file
        bundle = _repacked(bundle, current, part_size, task)
    task.done(count_words(len(wanted), "tarball"))
    return bundle, tuple(file.name for file in wanted)


def _lengths(file: BundledFile) -> list[int]:
    return [part.size for part in file.stored]


def _repacked(bundle: Bundle, file: BundledFile, part_size: int | None, task: Task) -> Bundle:
    """The bundle after one tarball was packed anew."""
    folder = bundle.folder
    writer = PartWriter(folder, file.name, part_size)
    try:
        made = _copied(folder, file, writer, task)
    except BaseException:
        writer.abandon()
        raise
    writer.commit()
    _sync(folder, *(folder / part.name for part in made.stored))
    packed = file.model_copy(update={"parts": made.parts})
    files = tuple(packed if old is file else old for old in bundle.index.files)
    index = bundle.index.model_copy(update={"files": files})
    write_if_changed(folder / _STAGED, sums_of(index))
    write_index(folder, index)
    (folder / _STAGED).unlink()
    _sync(folder)
    for part in file.stored:
        (folder / part.name).unlink()
    return replace(bundle, index=index)


def _copied(folder: Path, file: BundledFile, writer: PartWriter, task: Task) -> BundledFile:
    with summed(folder, file, task) as read:
        while data := read.read(_READ):
            writer.write(data)
    for error in read.wrong().values():
        raise error
    made = writer.finish()
    compare(folder / file.name, made.sha256, file.sha256, "sha256 of the whole")
    return made


def _sound(folder: Path, progress: Progress) -> Bundle:
    """The bundle in a folder, with all tarballs, and without what a killed run has left."""
    _finish_switch(folder)
    found = peek(folder)
    stored = {part.name for file in found.index.files for part in file.stored}
    tarballs = {file.name for file in found.index.files if file.image}
    left = {
        path.name
        for path in folder.iterdir()
        if path.name not in stored
        and (constructed(path.name) in tarballs or _is_of_a_document(path.name))
    }
    bundle = open_bundle(folder, besides={*left, SIGNATURE_FILE})
    for file in bundle.index.files:
        if not bundle.has_file(file):
            hint = "bring it over, too: all of a bundle is packed anew, or nothing"
            raise BundleError(f"{folder / file.name}: is missing", hint=hint)
    if left:
        bundle.check_files(progress=progress)
    for name in left:
        (folder / name).unlink()
    return bundle


def _is_of_a_document(name: str) -> bool:
    """Whether this is bundle.json or SHA256SUMS as a killed run left it while it was written."""
    return is_partial(name) and (INDEX_FILE in name or SUMS_FILE in name)


def _finish_switch(folder: Path) -> None:
    """Puts SHA256SUMS in its place where a killed run has come no further than bundle.json."""
    staged = folder / _STAGED
    if not staged.exists() or not (folder / INDEX_FILE).exists():
        return
    sums = parse_sums(staged.read_bytes(), str(staged))
    if sums.get(INDEX_FILE) == sha256_of(digest_of((folder / INDEX_FILE).read_bytes())):
        staged.replace(folder / SUMS_FILE)


def _sync(*paths: Path) -> None:
    """Returns when what was written to these files or folders is on disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
