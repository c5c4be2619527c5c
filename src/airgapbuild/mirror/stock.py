"""Bundles and layouts → a catalog of what they hold, every byte of it proven.

An exact bundle is served from the files that it is made of. What else there is lies in layouts: of
a compact bundle in one that `filling` has put it into.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.extents import Extent, batches, read
from airgapbuild.form import form_of
from airgapbuild.mirror.catalog import Blob, Catalog
from airgapbuild.mirror.proven import ProvenFiles
from airgapbuild.oci.content import INDEX_TYPES, MANIFEST_TYPES, parse_layout_index, parse_manifest
from airgapbuild.oci.garbage import held, subjects
from airgapbuild.supply import missing_line
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.form import Form
    from airgapbuild.mirror.catalog import Repository
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Progress, Task
    from airgapbuild.supply import Supply

_READ: Final = 1 << 20
_WORKERS: Final = 2
_NONE: Final[Mapping[Digest, Sequence[Content]]] = MappingProxyType({})


class Stock:
    """A catalog under construction, and the blobs that it is of."""

    def __init__(self, bundles: Sequence[Bundle], layouts: Sequence[Layout]) -> None:
        self.catalog = Catalog()
        self.files = ProvenFiles()
        self._bundles = bundles
        self._layouts = layouts
        self._blobs: dict[Digest, Blob] = {}

    def add_bundle(self, supply: Supply, progress: Progress) -> None:
        """Adds the images of an exact bundle, with all platforms whose tarballs are here.

        Raises:
            BundleError: what a differential bundle leaves out is nowhere. And see `form_of`.
            IntegrityError, LockError: see `form_of`.
        """
        lacking: list[str] = []
        for image in supply.bundle.lock.image:
            if any(supply.bundle.has(image, locked) for locked in image.platform):
                lacking += self._add_form(form_of(supply, image, image.registry_names))
            else:
                progress.note(f"{image.name}: no tarball of it is here, so it is not served")
        if lacking:
            raise BundleError(*lacking, hint=supply.remedy("serve BASE {}"))

    def add_image(
        self,
        layout: Layout,
        names: Sequence[Reference],
        digest: Digest,
        referrers: Mapping[Digest, Sequence[Content]] = _NONE,
    ) -> None:
        """Adds what of an image is in a layout, and what refers to it, under these names.

        Raises:
            BundleError: the layout lacks it, or a blob of one of its manifests.
            IntegrityError: a document is not what it should be.
        """
        documents = list(_documents(layout, digest, referrers))
        for name in names:
            repository = self.catalog.repository(name)
            for document in documents:
                repository.add(document)
            for blob in _blobs(documents):
                repository.blobs[blob.digest] = self._blob(blob, str(layout.path))
            if name.tag:
                repository.tags[name.tag] = digest

    def prove(self, progress: Progress) -> None:
        """Returns only if every blob is what its digest says; each is read once.

        Raises:
            IntegrityError: one is not.
            BundleError: one cannot be read.
        """
        task = progress.task("verify", sum(blob.size for blob in self._blobs.values()))
        with pool(_WORKERS, "verify") as threads:
            for _ in threads.map(lambda blob: self._prove(blob, task), self._blobs.values()):
                pass
        task.done(f"{len(self._blobs)} blobs")

    def _add_form(self, form: Form) -> Iterator[str]:
        """What of it is nowhere, a line for each platform."""
        for repository in map(self.catalog.repository, form.repositories):
            repository.add(form.tops[0])
            _add_tags(repository, form)
            for locked in form.parts:
                for document in form.manifests(locked):
                    repository.add(document)
        for locked in form.parts:
            missing = []
            for descriptor in form.blobs(locked):
                blob = self._find(descriptor)
                if blob is None:
                    missing.append(descriptor.digest)
                    continue
                for repository in map(self.catalog.repository, form.repositories):
                    repository.blobs[blob.digest] = blob
            yield from missing_line(form.image, locked, missing, "any other that was given")

    def _blob(self, descriptor: Descriptor, where: str) -> Blob:
        blob = self._find(descriptor)
        if blob is None:
            raise BundleError(f"{where}: lacks {descriptor.digest}", hint="load its bundle again")
        return blob

    def _find(self, descriptor: Descriptor) -> Blob | None:
        """A blob, wherever it is."""
        digest = descriptor.digest
        if digest not in self._blobs and (found := next(self._places(descriptor), None)):
            self._blobs[digest] = found
        return self._blobs.get(digest)

    def _places(self, descriptor: Descriptor) -> Iterator[Blob]:
        its = descriptor.digest, descriptor.size
        for bundle in self._bundles:
            if bundle.holds(descriptor.digest):
                yield Blob(*its, partial(bundle.extents, descriptor))
        for layout in self._layouts:
            path = layout.blob_path(descriptor.digest)
            if path.is_file():
                yield Blob(*its, partial(_extent, path))

    def _prove(self, blob: Blob, task: Task) -> None:
        hasher = hashlib.sha256()
        path = None
        for batch in batches(blob.extents(0, blob.size), _READ):
            path = batch[0].path
            try:
                with self.files.opened(path) as handle:
                    data = read(handle, batch)
            except OSError as error:
                raise BundleError(f"{path}: {error.strerror}") from error
            hasher.update(data)
            task.advance(len(data))
        if (got := "sha256:" + hasher.hexdigest()) != blob.digest:
            raise IntegrityError(
                f"{path}: expected {blob.digest}, got {got}", hint="bring this file over again"
            )


def _add_tags(repository: Repository, form: Form) -> None:
    """The image's tags, and those by which cosign finds its signatures."""
    top = form.tops[0].descriptor.digest
    for place in form.places:
        if place.tag and place.name == repository.full_name:
            repository.tags[place.tag] = top
    here = {it.descriptor.digest for part in form.parts.values() for it in part.referrers}
    for entry in form.image.referrer:
        if entry.tag and entry.digest in here:
            repository.tags[entry.tag] = entry.digest


def _extent(path: Path, start: int, stop: int) -> Iterator[Extent]:
    yield Extent(path, start, stop - start)


def referrers_in(layout: Layout) -> dict[Digest, list[Content]]:
    """The manifests in a layout that refer to another document, by that one's digest.

    Anybody can put such into a layout: what is no manifest, or lacks a blob, is passed over.
    """
    sizes = held(layout)
    found = defaultdict(list)
    for digest, subject in subjects(layout, sizes).items():
        document = layout.document(digest)
        if document and document.descriptor.media_type in MANIFEST_TYPES:
            with suppress(IntegrityError):
                if all(blob.digest in sizes for blob in _blobs([document])):
                    found[subject].append(document)
    return found


def _documents(
    layout: Layout, digest: Digest, referrers: Mapping[Digest, Sequence[Content]]
) -> Iterator[Content]:
    """An image's documents that a layout has, and what refers to any of them."""
    found: dict[Digest, Content] = {}
    waiting = [digest]
    while waiting:
        its = waiting.pop()
        document = layout.document(its)
        if document and its not in found:
            found[its] = document
            waiting += [it.descriptor.digest for it in referrers.get(its, ())]
            if document.descriptor.media_type in INDEX_TYPES:
                listed = parse_layout_index(document.raw, f"index {its}")
                waiting += [entry.digest for entry in listed]
    if digest not in found:
        raise BundleError(f"{layout.path}: lacks {digest}", hint="load its bundle again")
    yield from found.values()


def _blobs(documents: Sequence[Content]) -> Iterator[Descriptor]:
    for document in documents:
        if document.descriptor.media_type not in INDEX_TYPES:
            its = document.descriptor.digest
            yield from parse_manifest(document, f"manifest {its}").blobs
