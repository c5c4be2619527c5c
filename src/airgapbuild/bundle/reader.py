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
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.compact import WINDOW, LongFrames
from airgapbuild.bundle.delta import decoded_against
from airgapbuild.bundle.frames import FRAME, Readable, Slice, Whole, decoded, spans, stored_length
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
from airgapbuild.bundle.parts import Joined, located, opened
from airgapbuild.bundle.signature import ANY, Policy
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
    from airgapbuild.extents import Extent
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference
    from airgapbuild.signing import Signer

_READ: Final = 1 << 20
_WORKERS: Final = 2


@dataclass(frozen=True)
class Bundle:
    """A bundle folder whose small files are proven. It is a `Source` for what its tarballs hold."""

    folder: Path
    lock: Lock
    index: BundleIndex
    signer: Signer | None = None
    """Who has signed it; None where nobody asked."""
    older: Callable[[OlderBlob], OlderLayer | None] = lambda _: None
    """Gives older layers, raw, by which some of a differential bundle's are told."""

    def has(self, image: LockedImage, locked: LockedPlatform) -> bool:
        """Whether the tarball of a platform is here; a receiver may take over only some."""
        file = self.index.tarball(image.name, locked.platform)
        return file is not None and self.has_file(file)

    def has_file(self, file: BundledFile) -> bool:
        """Whether a file is here, with all its parts."""
        return all((self.folder / part.name).is_file() for part in file.stored)

    def check_files(self, *, progress: Progress = SILENT) -> None:
        """Returns only if every tarball that is here has its size and sum, part by part.

        Raises:
            IntegrityError: one has not.
        """
        present = [file for file in self.index.files if self.has_file(file)]
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
        with opened(self.folder, file) as tarball:
            return self.check_tarball(file, tarball)

    def check_tarball(self, file: BundledFile, tarball: Readable) -> PlatformImage:
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
        chunks = self._content(tarball, file, places)
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

    def tells(self, digest: Digest) -> bool:
        """Whether a blob can be read: it is held, and what it is told by, if anything, at hand.

        Raises:
            AirgapbuildError: the older layer by which it is told cannot be looked for.
        """
        file, blob = self._blobs.get(digest, (None, None))
        if file is None or blob is None:
            return False
        return not blob.reference or self._older(file, blob) is not None

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
        if blob.reference:
            chunks = self._told(file, blob)
        elif blob.start:
            self._check_bound(file, blob)
            chunks = self._long_frames.blob(self.folder, file, blob)
        else:
            chunks = _stored(self.folder, file, blob)
        yield from verified(chunks, descriptor.digest, descriptor.size, what)

    def extents(self, descriptor: Descriptor, start: int, stop: int) -> Iterator[Extent]:
        """Where in the files of an exact bundle a blob's bytes from `start` to `stop` lie.

        Nothing is verified: who reads the whole of it that way can tell whether it is right.

        Raises:
            BundleError: the blob is not here, or not as an exact bundle has it.
        """
        file, blob = self._find(descriptor.digest)
        is_stored = not blob.start and not blob.reference
        its = (blob.size, blob.length)
        if not is_stored or its != (descriptor.size, stored_length(descriptor.size)):
            raise BundleError(f"{file.name}: {descriptor.digest} does not lie there byte by byte")
        files = [(self.folder / part.name, part.size) for part in file.stored]
        for offset, length in spans(blob.size, start, stop):
            yield from located(files, blob.offset + offset, length)

    def _told(self, file: BundledFile, blob: BundledBlob) -> Iterator[bytes]:
        """A blob that is told by an older one."""
        older = self._older(file, blob)
        if older is None:
            raise BundleError(
                f"{file.name}: {blob.digest} is told by the older layer {blob.reference}, "
                "which is not at hand"
            )
        with opened(self.folder, file, blob.offset) as tarball:
            frames = Slice(tarball, blob.length)
            yield from decoded_against(frames, blob.size, older, file.name)

    def _older(self, file: BundledFile, blob: BundledBlob) -> OlderLayer | None:
        found = next((it for it in file.references if it.digest == blob.reference), None)
        return self.older(found) if found else None

    def _content(
        self, tarball: Readable, file: BundledFile, places: dict[Digest, range]
    ) -> Iterator[bytes]:
        """What a tarball's frames hold; `places` gets where in it the blobs lie by bundle.json.

        A blob that is told by a layer that is not at hand comes as zeros.
        """
        at = position = 0
        for (offset, length), blobs in _runs(file):
            if offset < at:
                raise BundleError(f"{file.name}: {INDEX_FILE} has two blobs at one place")
            between = decoded(tarball, offset - at, file.name)
            for chunk in between:
                position += len(chunk)
                yield chunk
            start = position
            for chunk in self._run(tarball, length, file, blobs):
                position += len(chunk)
                yield chunk
            for blob in blobs:
                first = start + (blob.start or 0)
                places[blob.digest] = range(first, first + blob.size if blob.start else position)
            at = offset + length
        yield from decoded(tarball, max(0, file.size - at), file.name)

    def _run(
        self, tarball: Readable, length: int, file: BundledFile, blobs: list[BundledBlob]
    ) -> Iterator[bytes]:
        """What the frames of a run hold."""
        if not any(blob.reference for blob in blobs):
            window = WINDOW if any(blob.start for blob in blobs) else FRAME
            return decoded(tarball, length, file.name, window=window)
        if len(blobs) > 1:
            raise BundleError(f"{file.name}: {INDEX_FILE} has two blobs at one place")
        if older := self._older(file, blobs[0]):
            return decoded_against(Slice(tarball, length), blobs[0].size, older, file.name)
        return _passed_over(tarball, blobs[0], file.name)

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
        with summed(self.folder, file, task) as read:
            pass
        for error in read.wrong().values():
            raise error

    @cached_property
    def _blobs(self) -> dict[Digest, tuple[BundledFile, BundledBlob]]:
        present = [file for file in self.index.files if self.has_file(file)]
        return {blob.digest: (file, blob) for file in present for blob in file.blobs}

    def _find(self, digest: Digest) -> tuple[BundledFile, BundledBlob]:
        try:
            return self._blobs[digest]
        except KeyError:
            for file in self.index.files:
                if any(blob.digest == digest for blob in file.blobs):
                    raise self._missing(file) from None
            raise BundleError(f"{self.folder}: no tarball here holds {digest}") from None

    def _missing(self, file: BundledFile) -> BundleError:
        hint = "bring this file over, too"
        return BundleError(f"{self.folder / file.name}: is missing", hint=hint)

    def _tarball(self, image: LockedImage, locked: LockedPlatform) -> BundledFile:
        file = self.index.tarball(image.name, locked.platform)
        if file is None:
            raise BundleError(f"{self.folder}: holds no {image.name} for {locked.platform}")
        if not self.has_file(file):
            raise self._missing(file)
        return file


def open_bundle(folder: Path, *, besides: Collection[str] = (), policy: Policy = ANY) -> Bundle:
    """The bundle in a folder, its small files proven and no file too many, but for `besides`.

    Raises:
        BundleError: it is no bundle, or a file is missing, foreign, or not a plain file.
        IntegrityError: bundle.json or airgapbuild.lock is not what the sums say.
        LockError: the lock is of a newer version.
        SignatureError: the policy refuses it.
    """
    found = survey(folder, besides=besides, policy=policy)
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
    return Bundle(found.folder, found.lock, found.index, found.signer)


@contextmanager
def summed(folder: Path, file: BundledFile, task: Task) -> Iterator[Summed]:
    """A file to read from its beginning; at the end of the block, the rest is read.

    Raises:
        UnreadableError: it, or one of its parts, cannot be read.
    """
    with opened(folder, file) as joined:
        read = Summed(folder, file, joined, task)
        yield read
        while read.read(_READ):
            pass


class Summed:
    """A file whose sizes and sums are taken while it is read, part by part."""

    def __init__(self, folder: Path, file: BundledFile, joined: Joined, task: Task) -> None:
        self._folder = folder
        self._stored = file.stored
        self._joined = joined
        self._task = task
        self._hashers = [hashlib.sha256() for _ in self._stored]
        self._sizes = [0 for _ in self._stored]

    def read(self, size: int, /) -> bytes:
        """See `Readable.read`."""
        data = self._joined.read(size)
        self._hashers[self._joined.number].update(data)
        self._sizes[self._joined.number] += len(data)
        self._task.advance(len(data))
        return data

    def wrong(self) -> dict[str, IntegrityError]:
        """The parts that have another size or sum, by name, once all is read."""
        problems: dict[str, IntegrityError] = {}
        for part, size, hasher in zip(self._stored, self._sizes, self._hashers, strict=True):
            path = self._folder / part.name
            try:
                compare(path, size, part.size, "bytes")
                compare(path, hasher.hexdigest(), part.sha256, "sha256")
            except IntegrityError as error:
                problems[part.name] = error
        return problems


def _stored(folder: Path, file: BundledFile, blob: BundledBlob) -> Iterator[bytes]:
    with opened(folder, file, blob.offset) as tarball:
        yield from decoded(tarball, blob.length, file.name)


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


def _passed_over(tarball: Readable, blob: BundledBlob, what: str) -> Iterator[bytes]:
    """As many zeros as a blob has bytes, once its frames are found to hold as many.

    Their decoder would refuse others than they say.
    """
    frames = Whole(Slice(tarball, blob.length), what)
    while frames.read(_READ):
        pass
    if frames.content_size != blob.size:
        raise BundleError(f"{what}: the frames of {blob.digest} do not say that they hold it")
    return (bytes(min(_READ, blob.size - at)) for at in range(0, blob.size, _READ))


def _runs(file: BundledFile) -> Iterator[tuple[tuple[int, int], list[BundledBlob]]]:
    """The runs of frames that hold blobs, by offset and length, each with its blobs."""

    def place(blob: BundledBlob) -> tuple[int, int]:
        return blob.offset, blob.length

    return ((run, list(blobs)) for run, blobs in groupby(sorted(file.blobs, key=place), key=place))
