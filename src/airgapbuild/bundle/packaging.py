"""How a bundle is packed. What is in it, the lock alone decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from airgapbuild.bundle.baseline import Baseline
    from airgapbuild.bundle.index import RequiredBlob
    from airgapbuild.bundle.older import ReadableLayer
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.manifest import Layers
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage

DEFAULT_LEVEL: Final = 9
"""Of zstd, for compact layers: 0.63 of the exact size in 7 seconds; 19 gives 0.54 in 165."""


@dataclass(frozen=True)
class Packaging:
    """What of a bundle's files is not the lock's business. The same packaging, the same bytes."""

    serial: int | None = None
    """A number of the user's that grows from bundle to bundle; a receiver may refuse older ones."""
    layers: Layers = "exact"
    level: int | None = None
    """Of zstd, for compact layers; None: the default."""
    part_size: int | None = None
    """How many bytes of a tarball one file holds at most; None for all of them."""
    with_tool: bool = False
    """Whether airgapbuild itself comes along."""
    against: Baseline | None = None
    """What the receiver of a differential bundle holds."""

    def left_out(
        self, image: LockedImage, locked: LockedPlatform, documents: PlatformImage
    ) -> tuple[RequiredBlob, ...]:
        """See `Baseline.left_out`; of a whole bundle nothing is."""
        return self.against.left_out(image, locked, documents) if self.against else ()

    def told_by(
        self,
        image: LockedImage,
        locked: LockedPlatform,
        documents: PlatformImage,
        left_out: Collection[RequiredBlob],
    ) -> dict[Digest, ReadableLayer]:
        """See `Baseline.told_by`; only raw layers have much in common with older ones."""
        if self.against is None or self.layers == "exact":
            return {}
        return self.against.told_by(image, locked, documents, left_out)

    @property
    def compact_level(self) -> int | None:
        """The level that layers are compressed at; None where they are exact."""
        return (self.level or DEFAULT_LEVEL) if self.layers == "compact" else None


DEFAULT_PACKAGING = Packaging()
