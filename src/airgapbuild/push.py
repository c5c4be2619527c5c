"""Bundle + registry → its images there, under the names by which builders look for them.

The order is: prove the bundle, ask the registry what it has, prove the tarballs that hold what it
lacks, send blobs, then the manifests that name them, then the names: nobody pulls half an image.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import BundleError, RegistryError
from airgapbuild.form import form_of
from airgapbuild.progress import SILENT, Progress, Task
from airgapbuild.supply import Supply, missing_line
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.form import Form
    from airgapbuild.lockfile import LockedImage, LockedPlatform, LockedReferrer
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.registry import RegistryTarget
    from airgapbuild.supply import Read

_WORKERS: Final = 5
"""As many uploads at once as dockerd has by default (`max-concurrent-uploads`)."""
_INCOMPLETE: Final = frozenset({400, 404, 422})
"""How registries refuse an index some of whose manifests they do not have: distribution by 400
MANIFEST_BLOB_UNKNOWN, others by 404 MANIFEST_UNKNOWN."""


@dataclass(frozen=True)
class PushedImage:
    """What happened to one image."""

    image: LockedImage
    platforms: tuple[LockedPlatform, ...]
    """The platforms that are there now."""
    names: tuple[Reference, ...]
    """What it is known by there."""
    digest: Digest
    """What its names point at: the locked digest, or that of an index or manifest derived from
    it."""
    action: str
    """`present` (nothing to do), `named` (only names were missing) or `pushed`."""
    sent: int
    """Bytes of blobs that went to the registry. Each counts for the first image that has it."""
    mounted: int
    """Bytes of blobs that the registry took over from another repository of its own."""

    @property
    def is_exact(self) -> bool:
        """Whether its names point at the locked digest."""
        return self.digest == self.image.digest


def push_images(
    bundle: Bundle,
    target: RegistryTarget,
    places: Mapping[str, tuple[Reference, ...]],
    scratch: Path,
    *,
    bases: Sequence[Bundle] = (),
    progress: Progress = SILENT,
) -> tuple[PushedImage, ...]:
    """The bundle's images, each at its `places`, with all platforms whose tarballs are here.

    What a differential bundle leaves out may lie in one of `bases`, or in the registry. Older
    layers by which it tells its own are laid out in files without a name in `scratch`.

    Raises:
        IntegrityError, BundleError: a bundle is not whole or not right; nothing was sent. Or what
            a differential bundle leaves out is nowhere.
        RegistryError: the registry does not take something. What it has taken stays.
    """
    for each in (*bases, bundle):
        each.check_files(progress=progress)
    supply = Supply.of(bundle, bases, scratch)
    forms = [form_of(supply, image, places[image.name]) for image in bundle.lock.image]
    push = _Push(supply, target, progress)
    push.look(forms)
    push.check(forms)
    push.send(forms)
    return tuple(push.file(form) for form in forms)


@dataclass
class _Blob:
    """A blob that some images need, and the repositories that have it or lack it."""

    descriptor: Descriptor
    owner: str
    """The first image that needs it."""
    having: list[Reference] = field(default_factory=list)
    lacking: list[Reference] = field(default_factory=list)
    sent: int = 0
    mounted: int = 0


class _Push:
    """What the steps of a push share."""

    def __init__(self, supply: Supply, target: RegistryTarget, progress: Progress) -> None:
        self._supply = supply
        self._target = target
        self._progress = progress
        self._blobs: dict[Digest, _Blob] = {}
        self._missing: set[Reference] = set()
        """Manifests, by repository and digest, that the registry lacks."""

    def look(self, forms: Sequence[Form]) -> None:
        """Asks the registry which blobs and manifests it has."""
        wanted: dict[Digest, set[Reference]] = defaultdict(set)
        manifests: set[Reference] = set()
        for form, locked in _platforms(forms):
            for blob in form.blobs(locked):
                self._blobs.setdefault(blob.digest, _Blob(blob, form.image.name))
                wanted[blob.digest].update(form.repositories)
            manifests.update(
                repository.with_digest(document.descriptor.digest)
                for document in form.manifests(locked)
                for repository in form.repositories
            )
        asked = [(digest, it) for digest, its in wanted.items() for it in sorted(its)]
        with pool(_WORKERS, "look") as threads:
            there = threads.map(lambda pair: self._target.has(pair[1], pair[0]), asked)
            for (digest, repository), is_there in zip(asked, there, strict=True):
                known = self._blobs[digest]
                (known.having if is_there else known.lacking).append(repository)
            ordered = sorted(manifests)
            found = threads.map(self._target.digest_of, ordered)
            self._missing = {it for it, digest in zip(ordered, found, strict=True) if not digest}

    def check(self, forms: Sequence[Form]) -> None:
        """Proves the tarballs of what is to be sent, once all of it is known to be at hand."""
        lines = [line for form, locked in _platforms(forms) for line in self._nowhere(form, locked)]
        if lines:
            raise BundleError(
                *lines, hint=self._supply.remedy(f"push BASE {{}} {self._target.name}")
            )
        for form, locked in _platforms(forms):
            if self._absent(form, locked) or self._unfiled(form, locked):
                self._supply.bundle.check_image(form.image, locked)

    def send(self, forms: Sequence[Form]) -> None:
        """Sends the blobs that the registry lacks, several at once.

        Those of a compact tarball go one after another: reading one means decoding what lies before
        it.
        """
        queues: list[list[tuple[_Blob, Read]]] = []
        queued: set[Digest] = set()
        for form, locked in _platforms(forms):
            new = [
                blob for blob in self._absent(form, locked) if blob.descriptor.digest not in queued
            ]
            queued.update(blob.descriptor.digest for blob in new)
            read = self._supply.reader(form.image, locked)
            its = [(blob, read) for blob in new]
            queues += [its] if self._supply.bundle.index.layers else [[it] for it in its]
        queues.sort(key=_size, reverse=True)
        total = sum(map(_size, queues))
        if not total:
            return
        task = self._progress.task("send", total)
        with pool(_WORKERS, "push") as threads:
            for sent in as_completed([threads.submit(self._send, it, task) for it in queues]):
                sent.result()
        task.done(f"{sum(bool(blob.sent) for blob in self._blobs.values())} blobs")

    def file(self, form: Form) -> PushedImage:
        """Puts the manifests of an image, then its names, then what refers to it."""
        pushed = False
        for locked in form.parts:
            for document, repository in self._unfiled(form, locked):
                self._target.put_manifest(
                    repository.with_digest(document.descriptor.digest), document
                )
                pushed = True
        top, named = self._name(form)
        attached = not form.is_compact and self._attach(form)
        if top.descriptor.digest != form.image.digest:
            self._progress.note(_derived(form, top))
        its = [blob for blob in self._blobs.values() if blob.owner == form.image.name]
        sent, mounted = sum(it.sent for it in its), sum(it.mounted for it in its)
        is_new = pushed or sent or mounted
        return PushedImage(
            image=form.image,
            platforms=tuple(form.parts),
            names=tuple(_at(place, top) for place in form.places),
            digest=top.descriptor.digest,
            action="pushed" if is_new else "named" if named or attached else "present",
            sent=sent,
            mounted=mounted,
        )

    def _nowhere(self, form: Form, locked: LockedPlatform) -> Iterator[str]:
        """What a platform needs that neither a bundle nor the registry has, in a line."""
        absent = {it.descriptor.digest for it in self._absent(form, locked) if not it.having}
        missing = [
            it.digest
            for it in self._supply.absent(form.image, locked)
            if it.digest in absent and not self._supply.bundle.holds(it.digest)
        ]
        if any(layer.digest in absent for layer in form.parts[locked].layers):
            missing += self._supply.nowhere(form.image, locked)
        yield from missing_line(form.image, locked, missing, self._target.name)

    def _absent(self, form: Form, locked: LockedPlatform) -> list[_Blob]:
        """The blobs of a platform that some repository lacks."""
        blobs = [self._blobs[blob.digest] for blob in form.blobs(locked)]
        return [blob for blob in blobs if blob.lacking]

    def _unfiled(self, form: Form, locked: LockedPlatform) -> list[tuple[Content, Reference]]:
        """The manifests of a platform, each with a repository that lacks it."""
        return [
            (document, repository)
            for document in form.manifests(locked)
            for repository in form.repositories
            if repository.with_digest(document.descriptor.digest) in self._missing
        ]

    def _send(self, queue: Iterable[tuple[_Blob, Read]], task: Task) -> None:
        for blob, read in queue:
            for repository in blob.lacking:
                self._put(blob, repository, partial(read, blob.descriptor), task)

    def _put(
        self, blob: _Blob, repository: Reference, read: Callable[[], Iterator[bytes]], task: Task
    ) -> None:
        source = next(iter(blob.having), None)
        if self._target.put(repository, blob.descriptor, read, task, source):
            blob.sent += blob.descriptor.size
        else:
            blob.mounted += blob.descriptor.size
            task.advance(blob.descriptor.size)
        blob.having.append(repository)

    def _name(self, form: Form) -> tuple[Content, bool]:
        """What an image's names point at, and whether they had to be put there."""
        for top in form.tops:
            if not self._unnamed(form, top):
                return top, False
        *better, last = form.tops
        for top in better:
            try:
                self._put_names(form, top)
            except RegistryError as error:
                if error.status not in _INCOMPLETE:
                    raise
                self._progress.detail(error.message)
            else:
                return top, True
        self._put_names(form, last)
        return last, True

    def _put_names(self, form: Form, top: Content) -> None:
        for place in self._unnamed(form, top):
            self._target.put_manifest(place, top)

    def _unnamed(self, form: Form, top: Content) -> list[Reference]:
        """The names of an image that point at something else, or nowhere."""
        names = [_at(place, top) for place in form.places]
        return [name for name in names if self._target.digest_of(name) != top.descriptor.digest]

    def _attach(self, form: Form) -> bool:
        """Whether something had to be done for what refers to an image to be found."""
        documents = {
            it.descriptor.digest: it for part in form.parts.values() for it in part.referrers
        }
        attached = False
        for entry in form.image.referrer:
            if document := documents.get(entry.digest):
                for repository in form.repositories:
                    attached |= self._attach_one(repository, entry, document)
        return attached

    def _attach_one(self, repository: Reference, entry: LockedReferrer, document: Content) -> bool:
        if entry.tag is None:
            return self._target.attach(repository, entry.subject, [document])
        tagged = repository.with_tag(entry.tag)
        if self._target.digest_of(tagged) == entry.digest:
            return False
        self._target.put_manifest(tagged, document)
        return True


def _platforms(forms: Iterable[Form]) -> Iterator[tuple[Form, LockedPlatform]]:
    return ((form, locked) for form in forms for locked in form.parts)


def _size(queue: Iterable[tuple[_Blob, Read]]) -> int:
    return sum(blob.descriptor.size * len(blob.lacking) for blob, _ in queue)


def _at(place: Reference, top: Content) -> Reference:
    """A place, where it is known by its digest alone at that digest."""
    return place if place.tag else place.with_digest(top.descriptor.digest)


def _derived(form: Form, top: Content) -> str:
    """Why an image is not known by the locked digest."""
    its = f"{form.image.name}: is known there by {top.descriptor.digest}, not by the locked"
    if form.is_compact:
        return (
            f"{its} {form.image.digest}: the bundle is compact, its layers are raw; attestations "
            "and signatures of the locked image are not pushed"
        )
    platforms = ", ".join(str(locked.platform) for locked in form.parts)
    bare = "" if form.image.attestations else ", without attestations"
    return (
        f"{its} {form.image.digest}: the registry takes no index that lists more than it has, and "
        f"the bundle has {platforms} only{bare}"
    )
