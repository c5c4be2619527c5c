"""Images of a bundle, put into a layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.oci.content import INDEX_TYPES, parse_index, parse_manifest
from airgapbuild.oci.derived import DERIVED_FROM, derived_index

if TYPE_CHECKING:
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.platform import Platform
    from airgapbuild.progress import Progress
    from airgapbuild.supply import Supply


@dataclass(frozen=True)
class Filled:
    """What a layout has of an image now."""

    platforms: tuple[LockedPlatform, ...]
    top: Descriptor
    """What the layout knows it by."""
    action: str
    """`present` (nothing to do), `named` (only names were missing) or `loaded`."""
    sent: int
    """Bytes that went into it."""


def fill(supply: Supply, layout: Layout, image: LockedImage, progress: Progress) -> Filled:
    """An image with all platforms that are here, in a layout and known there by its names.

    Raises:
        IntegrityError, BundleError: it is not whole or not right; it got no name then.
    """
    bundle, platforms = supply.bundle, supply.platforms(image)
    found = {locked: bundle.image(image, locked) for locked in platforms}
    missing: dict[LockedPlatform, tuple[Descriptor, ...]] = {}
    known: set[Digest] = set()
    for locked, documents in found.items():
        blobs = (*(document.descriptor for document in documents.documents), *documents.blobs)
        new = [blob for blob in blobs if blob.digest not in known]
        missing[locked] = tuple(blob for blob in new if not layout.holds(blob))
        known |= {blob.digest for blob in new}
        if missing[locked]:
            bundle.check_image(image, locked)
    sent = sum(blob.size for blobs in missing.values() for blob in blobs)
    task = progress.task(image.name, sent)
    for locked, blobs in missing.items():
        read = supply.reader(image, locked)
        for blob in blobs:
            layout.put(blob, read(blob))
            task.advance(blob.size)
    top, named = layout.name_chosen(
        lambda: _top(bundle, layout, image, found), tuple(map(str, image.layout_names))
    )
    action = "loaded" if sent else "named" if named else "present"
    task.done(action)
    return Filled(platforms, top, action, sent)


def _top(
    bundle: Bundle,
    layout: Layout,
    image: LockedImage,
    found: dict[LockedPlatform, PlatformImage],
) -> Descriptor:
    """What the layout knows the image by; written into it, where it is an index of our own.

    That keeps the platforms that a load of other tarballs has brought.
    """
    if bundle.index.layers is None:
        return image.top
    pairs = [(locked.platform, documents) for locked, documents in found.items()]
    top = derived_index(pairs, _held(layout, image))
    if not layout.holds(top.descriptor):
        layout.put(top.descriptor, iter([top.raw]))
    return top.descriptor.model_copy(update={"annotations": {DERIVED_FROM: image.digest}})


def _held(layout: Layout, image: LockedImage) -> dict[Platform, Descriptor]:
    """The manifests that the image's names lead to: of the same origin, and whole.

    Raises:
        IntegrityError: what was derived is no image.
    """
    images, upstream = layout.images(), layout.upstream()
    tops = {images[it] for it in image.layout_names if upstream.get(it) == image.digest}
    return {
        platform: manifest
        for top in sorted(tops)
        for platform, manifest in _platforms(layout, top)
        if _is_whole(layout, manifest.digest)
    }


def _platforms(layout: Layout, top: Digest) -> tuple[tuple[Platform, Descriptor], ...]:
    document = layout.document(top)
    if document is None or document.descriptor.media_type not in INDEX_TYPES:
        return ()
    return parse_index(document, f"index {top}").platforms


def _is_whole(layout: Layout, digest: Digest) -> bool:
    document = layout.document(digest)
    if document is None:
        return False
    blobs = parse_manifest(document, f"manifest {digest}").blobs
    return all(layout.blob_path(blob.digest).is_file() for blob in blobs)
