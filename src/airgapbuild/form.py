"""The form in which an image of a bundle goes into a registry.

An exact bundle's image goes as it is locked: index, platform manifests, attestations and what
refers to them. Many registries refuse an index some of whose manifests they do not have, and a
bundle seldom holds all platforms: then an index of those that are here takes its place. A compact
bundle's image goes as `load` gives it to a layout, derived, and without evidence of another digest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airgapbuild.oci.content import INDEX_TYPES, parse_manifest
from airgapbuild.oci.derived import derived_index, reduced_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference
    from airgapbuild.supply import Supply


@dataclass(frozen=True)
class Form:
    """What of an image goes to a registry, and where."""

    image: LockedImage
    places: tuple[Reference, ...]
    parts: Mapping[LockedPlatform, PlatformImage]
    tops: tuple[Content, ...]
    """What the names shall point at: the first of these that the registry takes."""
    is_compact: bool
    """Whether it is derived, with raw layers. What speaks of the locked image stays behind then."""

    @property
    def repositories(self) -> tuple[Reference, ...]:
        """The repositories of its places."""
        return tuple(dict.fromkeys(replace(it, tag=None, digest=None) for it in self.places))

    def manifests(self, locked: LockedPlatform) -> tuple[Content, ...]:
        """The manifests of a platform: the image's own, then the evidence's."""
        part = self.parts[locked]
        own = (part.manifest,) if part.manifest not in self.tops else ()
        return own if self.is_compact else (*own, *part.attestations, *part.referrers)

    def blobs(self, locked: LockedPlatform) -> tuple[Descriptor, ...]:
        """The blobs of a platform, each once, in the order in which its tarball has them."""
        part = self.parts[locked]
        order = {blob.digest: n for n, blob in enumerate(part.blobs)}
        blobs = {
            blob.digest: blob
            for document in {it.descriptor.digest: it for it in self._with_blobs(part)}.values()
            for blob in parse_manifest(document, f"manifest {document.descriptor.digest}").blobs
        }
        return tuple(sorted(blobs.values(), key=lambda blob: order.get(blob.digest, -1)))

    def _with_blobs(self, part: PlatformImage) -> tuple[Content, ...]:
        evidence = () if self.is_compact else (*part.attestations, *part.referrers)
        return (part.manifest, *evidence)


def form_of(supply: Supply, image: LockedImage, places: tuple[Reference, ...]) -> Form:
    """The form of an image of the supply's bundle.

    Raises:
        BundleError, IntegrityError, LockError: see `Supply.platforms` and `Bundle.image`.
    """
    bundle = supply.bundle
    parts = {locked: bundle.image(image, locked) for locked in supply.platforms(image)}
    top = next(iter(parts.values())).top
    if bundle.index.layers:
        pairs = [(locked.platform, part) for locked, part in parts.items()]
        return Form(image, places, parts, (derived_index(pairs),), is_compact=True)
    tops: tuple[Content, ...] = (top,)
    if top.descriptor.media_type in INDEX_TYPES:
        here = {
            document.descriptor.digest
            for part in parts.values()
            for document in (part.manifest, *part.attestations)
        }
        tops = tuple(dict.fromkeys((top, reduced_index(top, here))))
    return Form(image, places, parts, tops, is_compact=False)
