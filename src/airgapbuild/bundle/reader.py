"""Reading a bundle, and proving it first.

Nothing of a bundle is taken on trust. `open_bundle` checks the small files against SHA256SUMS and
the folder against bundle.json; `check_files` the sums of the tarballs; `check_image` walks a
tarball member by member and compares every blob with what the lock leads to. Tarballs are never
extracted: blobs are read at their place, and verified again while they are read.
"""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.frames import decoded
from airgapbuild.bundle.index import (
    FETCH_AGAIN,
    INDEX_FILE,
    SUMS_FILE,
    BundledBlob,
    BundledFile,
    BundleIndex,
    is_partial,
    parse_bundle_index,
    parse_sums,
    sha256_of,
)
from airgapbuild.bundle.walk import walk
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform, parse_lock
from airgapbuild.oci.content import MAX_DOCUMENT, Content, Descriptor, content, media_type_of
from airgapbuild.oci.digest import Digest, digest_of, verified
from airgapbuild.pins import read_pinned
from airgapbuild.progress import SILENT, Progress, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference

_MAX_SMALL_FILE: Final = 16 << 20
_READ: Final = 1 << 20
_WORKERS: Final = 2


@dataclass(frozen=True)
class Bundle:
    """A bundle folder whose small files are proven. It is a `Source` for what its tarballs hold."""

    folder: Path
    lock: Lock
    index: BundleIndex
    sums: Mapping[str, str]

    def has(self, image: LockedImage, locked: LockedPlatform) -> bool:
        """Whether the tarball of a platform is here; a receiver may take over only some."""
        file = self.index.tarball(image.name, locked.platform)
        return file is not None and (self.folder / file.name).is_file()

    def check_files(self, *, progress: Progress = SILENT) -> None:
        """Returns only if every tarball that is here has its size and sum.

        Raises:
            IntegrityError: one has not.
        """
        present = [file for file in self.index.files if (self.folder / file.name).is_file()]
        task = progress.task("verify", sum(file.size for file in present))
        with ThreadPoolExecutor(_WORKERS, "verify") as pool:
            for _ in pool.map(lambda file: self._check_file(file, task), present):
                pass
        task.done(f"{len(present)} files")

    def image(self, image: LockedImage, locked: LockedPlatform) -> PlatformImage:
        """The documents of one platform, checked against the lock.

        Raises:
            BundleError, IntegrityError, LockError: they are not here or not what the lock says.
        """
        return read_pinned(self, image, locked)

    def check_image(self, image: LockedImage, locked: LockedPlatform) -> PlatformImage:
        """The documents of one platform, after every byte of its tarball was read and found right.

        Raises:
            BundleError: the tarball is missing, cut, or holds anything but the image's files.
            IntegrityError: a blob is not what its digest says.
        """
        file = self._tarball(image, locked)
        documents = self.image(image, locked)
        expected = {d.descriptor.digest: d.descriptor.size for d in documents.documents}
        expected |= {blob.digest: blob.size for blob in documents.blobs}
        with (self.folder / file.name).open("rb") as opened:
            found = walk(decoded(opened, file.size, file.name), file.name)
        if found != expected:
            lacking = ", ".join(sorted(expected.keys() - found.keys())) or "none"
            surplus = ", ".join(sorted(found.keys() - expected.keys())) or "none"
            raise BundleError(
                f"{file.name}: not the image's blobs: missing {lacking}; foreign {surplus}",
                hint=FETCH_AGAIN,
            )
        return documents

    def manifest(self, reference: Reference) -> Content:
        """See `Source.manifest`; only digests can be asked for."""
        if reference.digest is None:
            raise BundleError(f"{reference.familiar}: a bundle is read by digest")
        _, blob = self._find(reference.digest)
        if blob.size > MAX_DOCUMENT:
            raise IntegrityError(f"{reference.digest}: a manifest of {blob.size} bytes")
        descriptor = Descriptor(media_type="", digest=blob.digest, size=blob.size)
        raw = b"".join(self.blob(reference, descriptor))
        return content(raw, media_type_of(raw))

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """See `Source.blob`; the repository does not matter here."""
        del reference
        file, blob = self._find(descriptor.digest)
        what = f"{file.name}: {descriptor.digest}"
        with (self.folder / file.name).open("rb") as opened:
            opened.seek(blob.offset)
            chunks = decoded(opened, blob.length, file.name)
            yield from verified(chunks, descriptor.digest, descriptor.size, what)

    @cached_property
    def _blobs(self) -> dict[Digest, tuple[BundledFile, BundledBlob]]:
        present = [file for file in self.index.files if (self.folder / file.name).is_file()]
        return {blob.digest: (file, blob) for file in present for blob in file.blobs}

    def _find(self, digest: Digest) -> tuple[BundledFile, BundledBlob]:
        try:
            return self._blobs[digest]
        except KeyError:
            raise BundleError(f"{self.folder}: no tarball here holds {digest}") from None

    def _tarball(self, image: LockedImage, locked: LockedPlatform) -> BundledFile:
        file = self.index.tarball(image.name, locked.platform)
        if file is None:
            raise BundleError(f"{self.folder}: holds no {image.name} for {locked.platform}")
        if not (self.folder / file.name).is_file():
            raise BundleError(
                f"{self.folder / file.name}: is missing", hint="bring this file over, too"
            )
        return file

    def _check_file(self, file: BundledFile, task: Task) -> None:
        path = self.folder / file.name
        hasher = hashlib.sha256()
        with path.open("rb", buffering=0) as opened:
            while chunk := opened.read(_READ):
                hasher.update(chunk)
                task.advance(len(chunk))
        _compare(path, path.stat().st_size, file.size, "bytes")
        _compare(path, hasher.hexdigest(), self.sums[file.name], "sha256")


def open_bundle(folder: Path, *, besides: Collection[str] = ()) -> Bundle:
    """The bundle in a folder, its small files proven and no file too many, but for `besides`.

    Raises:
        BundleError: it is no bundle, or a file is missing, foreign, or not a plain file.
        IntegrityError: bundle.json or airgapbuild.lock is not what the sums say.
        LockError: the lock is of a newer version.
    """
    if not folder.is_dir():
        hint = "give the folder that `airgapbuild export` wrote"
        raise BundleError(f"{folder}: there is no such folder", hint=hint)
    sums = parse_sums(_read(folder / SUMS_FILE), str(folder / SUMS_FILE))
    raw_index = _vouched(folder, INDEX_FILE, sums)
    index = parse_bundle_index(raw_index, str(folder / INDEX_FILE))
    raw_lock = _vouched(folder, LOCK_FILE, sums)
    _compare(folder / LOCK_FILE, digest_of(raw_lock), index.lock, INDEX_FILE)
    _check_names(folder, index, sums, besides)
    return Bundle(folder, parse_lock(raw_lock, str(folder / LOCK_FILE)), index, sums)


def _check_names(
    folder: Path, index: BundleIndex, sums: Mapping[str, str], besides: Collection[str]
) -> None:
    listed = {file.name: file.sha256 for file in index.files}
    if {**listed, INDEX_FILE: sums[INDEX_FILE]} != sums:
        raise BundleError(f"{folder}: {SUMS_FILE} and {INDEX_FILE} do not agree")
    for path in sorted(folder.iterdir()):
        if path.name not in {*sums, SUMS_FILE, *besides}:
            hint = "a bundle's folder holds nothing else: move it away"
            if is_partial(path.name):
                hint = "an export was cut off here: run it again until it ends well"
            raise BundleError(f"{path}: does not belong to the bundle", hint=hint)
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"{path}: not a plain file")
    for file in index.files:
        if file.image is None and not (folder / file.name).exists():
            raise BundleError(f"{folder / file.name}: is missing", hint=FETCH_AGAIN)


def _vouched(folder: Path, name: str, sums: Mapping[str, str]) -> bytes:
    """A small file, checked against its line in SHA256SUMS."""
    if name not in sums:
        raise BundleError(f"{folder / SUMS_FILE}: has no line for {name}", hint=FETCH_AGAIN)
    raw = _read(folder / name)
    _compare(folder / name, sha256_of(digest_of(raw)), sums[name], "sha256")
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
        raise BundleError(f"{path}: {error.strerror}") from error
    if len(raw) > _MAX_SMALL_FILE:
        raise BundleError(f"{path}: more than {_MAX_SMALL_FILE} bytes")
    return raw


def _compare(path: Path, found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise IntegrityError(f"{path}: {what}: {found}, expected {wanted}", hint=FETCH_AGAIN)
