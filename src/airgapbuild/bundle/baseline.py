"""What a receiver holds already, so that a bundle may leave it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.bundle.index import Base, RequiredBlob

if TYPE_CHECKING:
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.platform import Platform


@dataclass(frozen=True)
class HeldLayer:
    """A layer of an image that the receiver's daemon holds."""

    diff_id: Digest
    blob: Digest | None
    """The layer as it was loaded; None where nobody knows: a classic store does not keep it."""


@dataclass(frozen=True)
class Baseline:
    """What a receiver holds, as far as is known here."""

    bases: frozenset[Base]
    """What tells it."""
    chains: frozenset[tuple[Platform, tuple[HeldLayer, ...]]]
    """The layers of each of its daemon's images, lowest first."""
    blobs: frozenset[Digest]
    """What its layout holds."""

    @property
    def sorted_bases(self) -> tuple[Base, ...]:
        """What tells it, in one order."""
        return tuple(sorted(self.bases, key=lambda base: (base.name or "", base.digest)))

    def __or__(self, other: Baseline) -> Baseline:
        return Baseline(
            self.bases | other.bases, self.chains | other.chains, self.blobs | other.blobs
        )

    def left_out(
        self, image: LockedImage, locked: LockedPlatform, documents: PlatformImage
    ) -> tuple[RequiredBlob, ...]:
        """What need not travel of a platform's image.

        Of an image for the daemon only layers that it has in common with one other image from the
        lowest on: the classic store knows a layer by all that lie below it.
        """
        if image.for_daemon:
            blobs = documents.bottom(self._depth(locked.platform, documents))
        else:
            blobs = tuple(blob for blob in documents.blobs if blob.digest in self.blobs)
        diff_ids = documents.diff_ids
        return tuple(
            RequiredBlob(digest=blob.digest, size=blob.size, diff_id=diff_ids.get(blob.digest))
            for blob in blobs
        )

    def _depth(self, platform: Platform, documents: PlatformImage) -> int:
        """How many layers of an image the receiver has as the lowest ones of another."""
        layers = list(zip(documents.layers, documents.parsed_config.diff_ids, strict=False))
        depth = 0
        for where, chain in self.chains:
            if where != platform:
                continue
            same = 0
            for (layer, diff_id), held in zip(layers, chain, strict=False):
                if diff_id != held.diff_id or held.blob not in {None, layer.digest}:
                    break
                same += 1
            depth = max(depth, same)
        return depth
