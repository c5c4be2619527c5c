"""What of an image a layout has, platform by platform.

Layers count by presence and size, documents by their bytes: to look is cheap, and no layer is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.oci.content import INDEX_TYPES, parse_config, parse_index, parse_manifest

if TYPE_CHECKING:
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.platform import Platform


@dataclass(frozen=True)
class Part:
    """An image for one platform."""

    platform: Platform | None
    """None where only documents would tell that are not there."""
    is_there: bool
    """Whether its manifest is, however damaged."""
    lost: Digest | None
    """The first of its contents that is missing or damaged."""

    def serves(self, wanted: Platform) -> bool:
        """Whether a build for a platform may take this one."""
        return self.platform is None or self.platform.serves(wanted)


def parts_of(layout: Layout, digest: Digest) -> tuple[Part, ...]:
    """The platforms of an image, in its index's order, each with what it lacks.

    Raises:
        IntegrityError: the layout's documents are no images.
    """
    top = layout.document(digest)
    if top is None or top.descriptor.media_type not in INDEX_TYPES:
        return (_part(layout, digest, None),)
    entries = parse_index(top, f"index {digest}").platforms
    return tuple(_part(layout, it.digest, platform) for platform, it in entries)


def _part(layout: Layout, digest: Digest, platform: Platform | None) -> Part:
    manifest = layout.document(digest)
    if manifest is None:
        return Part(platform, _size(layout, digest) is not None, digest)
    parsed = parse_manifest(manifest, f"manifest {digest}")
    config = layout.document(parsed.config.digest)
    if config is None:
        return Part(platform, is_there=True, lost=parsed.config.digest)
    own = parse_config(config.raw, f"config {parsed.config.digest}").platform
    lost = (layer.digest for layer in parsed.layers if not _is_whole(layout, layer))
    return Part(platform or own, is_there=True, lost=next(lost, None))


def _is_whole(layout: Layout, blob: Descriptor) -> bool:
    return _size(layout, blob.digest) == blob.size


def _size(layout: Layout, digest: Digest) -> int | None:
    """In bytes; None where the blob is not there."""
    path = layout.blob_path(digest)
    with layout.reaching():
        return path.stat().st_size if path.is_file() else None
