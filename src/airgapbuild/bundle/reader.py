"""Reading a bundle, and proving it first.

Nothing of a bundle is taken on trust. `open_bundle` wants a folder in which `survey` finds nothing
wrong; `check_files` checks the sums of the tarballs; `check_image` walks a tarball member by member
and compares each with what the lock leads to. Tarballs are never extracted: blobs are read at their
place, and verified again while they are read.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import IO, TYPE_CHECKING, Final

from airgapbuild.bundle.compact import LongFrames
from airgapbuild.bundle.delta import decoded_against
from airgapbuild.bundle.frames import Readable, Slice, decoded
from airgapbuild.bundle.index import (
    INDEX_FILE,
    BundledBlob,
    BundledFile,
    BundleIndex,
    OlderBlob,
    RequiredBlob,
    beyond,
    tarball_name,
)
from airgapbuild.bundle.survey import Survey, compare, survey
from airgapbuild.bundle.walk import walk
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform
from airgapbuild.oci.archive import archive_members
from airgapbuild.oci.content import MAX_DOCUMENT, Content, Descriptor, content, media_type_of
from airgapbuild.oci.derived import MAX_RATIO, derived
from airgapbuild.oci.digest import Digest, verified
from airgapbuild.pins import read_pinned
from airgapbuild.progress import SILENT, Progress, Task
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from airgapbuild.bundle.older import OlderLayer
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference

_READ: Final = 1 << 20
_WORKERS: Final = 2


@dataclass(frozen=True)
class Bundle:
    """A bundle folder whose small files are proven. It is a `Source` for what its tarballs hold."""

    folder: Path
    lock: Lock
    index: BundleIndex
    older: Callable[[OlderBlob], OlderLayer | None] = lambda _: None
    """Gives older layers, raw, by which some of a differential bundle's are told."""

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
        with pool(_WORKERS, "verify") as threads:
            for _ in threads.map(lambda file: self._check_sum(file, task), present):
                pass
        task.done(f"{len(present)} files")

    def image(self, image: LockedImage, locked: LockedPlatform) -> PlatformImage:
        """The documents of one platform, checked against the lock: of the image as it arrives.

        In a compact bundle that is the one derived from what is locked.

        Raises:
            BundleError, IntegrityError, LockError: they are not here or not what the lock says.
        """
        documents = read_pinned(self, image, locked)
        file = self._tarball(image, locked)
        if self.index.layers:
            sizes = {blob.digest: blob.size for blob in (*file.requires, *file.blobs)}
            documents = derived(documents, sizes, file.name)
        _check_requires(file, documents)
        return documents

    def check_image(self, image: LockedImage, locked: LockedPlatform) -> PlatformImage:
        """The documents of one platform, after every byte of its tarball was read and found right.

        Raises:
            BundleError: the tarball is missing, cut, or holds anything but the image's files.
            IntegrityError: a blob is not what its digest says.
        """
        file = self._tarball(image, locked)
        with _opened(self.folder / file.name) as opened:
            return self.check_tarball(file, opened)

    def check_tarball(self, file: BundledFile, opened: Readable) -> PlatformImage:
        """The same for a tarball that is open at its beginning; nothing is read from another one.

        Raises:
            BundleError, IntegrityError, LockError: see `check_image` and `image`.
        """
        image = self.lock.find(file.image) if file.image else None
        locked = image.on(file.platform) if image and file.platform else None
        if image is None or locked is None or file.name != tarball_name(image, locked.platform):
            raise BundleError(f"{file.name}: is no tarball of {LOCK_FILE}")
        documents = self._only(file).image(image, locked)
        layers, diff_ids = len(documents.layers), len(documents.parsed_config.diff_ids)
        if layers != diff_ids:
            raise IntegrityError(f"{file.name}: {layers} layers, but {diff_ids} in the config")
        places: dict[Digest, range] = {}
        members = archive_members(documents, image.names, wanted=beyond(file.requires))
        unread = {
            blob.digest for blob in file.blobs if blob.reference and not self._older(file, blob)
        }
        chunks = self._content(opened, file, places)
        if walk(chunks, members, file.name, unread) != places:
            raise BundleError(f"{file.name}: its blobs lie elsewhere than {INDEX_FILE} says")
        return documents

    def requires(self, image: LockedImage, locked: LockedPlatform) -> tuple[RequiredBlob, ...]:
        """What the image of a platform needs and the bundle leaves out.

        Raises:
            BundleError: the tarball is missing.
        """
        return self._tarball(image, locked).requires

    def references(self, image: LockedImage, locked: LockedPlatform) -> tuple[OlderBlob, ...]:
        """The older layers without which a platform's tarball cannot be read.

        Raises:
            BundleError: the tarball is missing.
        """
        return self._tarball(image, locked).references

    def holds(self, digest: Digest) -> bool:
        """Whether a tarball that is here holds this blob."""
        return digest in self._blobs

    def alone(self, image: LockedImage, locked: LockedPlatform) -> Bundle:
        """The same bundle with no tarball but a platform's.

        What several tarballs hold is read from this one: that matters where it costs a decoding.

        Raises:
            BundleError: the tarball is missing.
        """
        return self._only(self._tarball(image, locked))

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
        path = self.folder / file.name
        if blob.reference:
            chunks = self._told(file, blob)
        elif blob.start:
            self._check_bound(file, blob)
            chunks = self._long_frames.blob(path, blob)
        else:
            chunks = _stored(path, blob)
        with _readable(path):
            yield from verified(chunks, descriptor.digest, descriptor.size, what)

    def _told(self, file: BundledFile, blob: BundledBlob) -> Iterator[bytes]:
        """A blob that is told by an older one."""
        older = self._older(file, blob)
        if older is None:
            raise BundleError(
                f"{file.name}: {blob.digest} is told by the older layer {blob.reference}, "
                "which is not at hand"
            )
        with (self.folder / file.name).open("rb") as opened:
            opened.seek(blob.offset)
            yield from decoded_against(Slice(opened, blob.length), blob.size, older, file.name)

    def _older(self, file: BundledFile, blob: BundledBlob) -> OlderLayer | None:
        found = next((it for it in file.references if it.digest == blob.reference), None)
        return self.older(found) if found else None

    def _content(
        self, opened: Readable, file: BundledFile, places: dict[Digest, range]
    ) -> Iterator[bytes]:
        """What a tarball's frames hold; `places` gets where in it the blobs lie by bundle.json.

        A blob that is told by a layer that is not at hand comes as zeros.
        """
        at = position = 0
        for (offset, length), found in _runs(file):
            blobs = list(found)
            if offset < at:
                raise BundleError(f"{file.name}: {INDEX_FILE} has two blobs at one place")
            for chunk in decoded(opened, offset - at, file.name):
                position += len(chunk)
                yield chunk
            start = position
            for chunk in self._run(opened, length, file, blobs):
                position += len(chunk)
                yield chunk
            for blob in blobs:
                first = start + (blob.start or 0)
                places[blob.digest] = range(first, first + blob.size if blob.start else position)
            at = offset + length
        yield from decoded(opened, max(0, file.size - at), file.name)

    def _run(
        self, opened: Readable, length: int, file: BundledFile, blobs: list[BundledBlob]
    ) -> Iterator[bytes]:
        """What the frames of a run hold."""
        if not any(blob.reference for blob in blobs):
            return decoded(opened, length, file.name)
        if len(blobs) > 1:
            raise BundleError(f"{file.name}: {INDEX_FILE} has two blobs at one place")
        if older := self._older(file, blobs[0]):
            return decoded_against(Slice(opened, length), blobs[0].size, older, file.name)
        return _passed_over(opened, blobs[0])

    def _only(self, file: BundledFile) -> Bundle:
        return replace(self, index=self.index.model_copy(update={"files": (file,)}))

    def _check_bound(self, file: BundledFile, blob: BundledBlob) -> None:
        """Returns only if the lock lets so much lie before the end of a blob in a long frame."""
        image = self.lock.find(file.image) if file.image else None
        locked = image.on(file.platform) if image and file.platform else None
        # Each layer is a byte at least, and has a header and padding of less than 1032 bytes.
        if locked is None or (blob.start or 0) + blob.size > 2 * MAX_RATIO * locked.layers_size:
            raise BundleError(f"{file.name}: {blob.digest} lies farther back than it can")

    @cached_property
    def _long_frames(self) -> LongFrames:
        return LongFrames()

    def _check_sum(self, file: BundledFile, task: Task) -> None:
        with proven(self.folder / file.name, file, task):
            pass

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


def open_bundle(folder: Path, *, besides: Collection[str] = ()) -> Bundle:
    """The bundle in a folder, its small files proven and no file too many, but for `besides`.

    Raises:
        BundleError: it is no bundle, or a file is missing, foreign, or not a plain file.
        IntegrityError: bundle.json or airgapbuild.lock is not what the sums say.
        LockError: the lock is of a newer version.
    """
    found = survey(folder, besides=besides)
    if found.problems:
        raise found.problems[0].error
    return _bundle(found)


def peek(folder: Path) -> Bundle:
    """The bundle in a folder whose index and lock are right, whatever else there is.

    Raises:
        BundleError, IntegrityError, LockError: one of the two is missing or not right.
    """
    return _bundle(survey(folder))


def _bundle(found: Survey) -> Bundle:
    if found.index is None or found.lock is None:
        raise found.problems[0].error
    return Bundle(found.folder, found.lock, found.index)


@contextmanager
def proven(path: Path, file: BundledFile, task: Task) -> Iterator[Readable]:
    """A file to read from its beginning; at the end of the block, the rest is read and all proven.

    Raises:
        IntegrityError: it has another size or sum.
        BundleError: it cannot be read.
    """
    with _opened(path) as opened:
        summed = _Summed(opened, task)
        yield summed
        while summed.read(_READ):
            pass
    compare(path, summed.size, file.size, "bytes")
    compare(path, summed.hasher.hexdigest(), file.sha256, "sha256")


class _Summed:
    """A file whose size and sum are taken while it is read."""

    def __init__(self, file: Readable, task: Task) -> None:
        self._file = file
        self._task = task
        self.hasher = hashlib.sha256()
        self.size = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.hasher.update(data)
        self.size += len(data)
        self._task.advance(len(data))
        return data


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with _readable(path), path.open("rb") as opened:
        yield opened


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error


def _check_requires(file: BundledFile, documents: PlatformImage) -> None:
    """Returns only if the image has all that a tarball leaves out, and the tarball has none of it.

    Raises:
        BundleError: bundle.json says otherwise.
    """
    blobs = {blob.digest: blob for blob in documents.blobs}
    here = {blob.digest for blob in file.blobs}
    told_by = {blob.reference for blob in file.blobs if blob.reference}
    if told_by != {older.digest for older in file.references}:
        raise BundleError(f"{file.name}: {INDEX_FILE}: its references are not those of its blobs")
    for it in file.requires:
        blob = blobs.get(it.digest)
        is_right = blob and blob.size == it.size and documents.diff_ids.get(it.digest) == it.diff_id
        if not is_right or it.digest in here:
            raise BundleError(f"{file.name}: {INDEX_FILE}: requires {it.digest}, which is not so")


def _stored(path: Path, blob: BundledBlob) -> Iterator[bytes]:
    with path.open("rb") as opened:
        opened.seek(blob.offset)
        yield from decoded(opened, blob.length, path.name)


def _passed_over(opened: Readable, blob: BundledBlob) -> Iterator[bytes]:
    """As many zeros as a blob has bytes, while its frames are read."""
    frames = Slice(opened, blob.length)
    while frames.read(_READ):
        pass
    return (bytes(min(_READ, blob.size - at)) for at in range(0, blob.size, _READ))


def _runs(file: BundledFile) -> Iterator[tuple[tuple[int, int], Iterator[BundledBlob]]]:
    """The runs of frames that hold blobs, by offset and length, each with its blobs."""

    def place(blob: BundledBlob) -> tuple[int, int]:
        return blob.offset, blob.length

    return groupby(sorted(file.blobs, key=place), key=place)
