"""What a receiver holds already, so that a bundle may leave it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, TypeAlias

from airgapbuild.bundle.index import Base, RequiredBlob

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airgapbuild.bundle.older import ReadableLayer
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.platform import Platform

    Layers: TypeAlias = tuple[ReadableLayer | None, ...]
    """None stands for one that cannot be read here."""

_SMALLEST: Final = 64 << 10
"""Of layers that are told by an older one, in bytes: smaller ones gain nothing."""


@dataclass(frozen=True)
class HeldLayer:
    """A layer of an image that the receiver's daemon holds."""

    diff_id: Digest
    blob: Digest | None
    """The layer as it was loaded; None where nobody knows: a classic store does not keep it."""


@dataclass(frozen=True)
class Baseline:
    """What a receiver holds, as far as is known here."""

    bases: frozenset[Base] = frozenset()
    """What tells it."""
    chains: frozenset[tuple[Platform, tuple[HeldLayer, ...]]] = frozenset()
    """The layers of each of its daemon's images, lowest first."""
    blobs: frozenset[Digest] = frozenset()
    """What its layout holds."""
    older: Mapping[tuple[str, Platform], Layers] = field(default_factory=dict)
    """The layers of its images by an image's name and platform, lowest first."""

    @property
    def sorted_bases(self) -> tuple[Base, ...]:
        """What tells it, in one order."""
        return tuple(sorted(self.bases, key=lambda base: (base.name or "", base.digest)))

    def __or__(self, other: Baseline) -> Baseline:
        return Baseline(
            self.bases | other.bases,
            self.chains | other.chains,
            self.blobs | other.blobs,
            {
                key: _completed(other.older.get(key, ()), self.older.get(key, ()))
                for key in {**self.older, **other.older}
            },
        )

    def left_out(
        self, image: LockedImage, locked: LockedPlatform, documents: PlatformImage
    ) -> tuple[RequiredBlob, ...]:
        """What need not travel of a platform's image.

        Of an image for the daemon only layers that it has in common with one other image from the
        lowest on: the classic store knows a layer by all that lie below it. Of one for the layout
        any blob. Of one for both what neither needs.
        """
        blobs = documents.blobs
        if image.for_daemon:
            blobs = documents.bottom(self._depth(locked.platform, documents))
        if image.for_layout:
            blobs = tuple(blob for blob in blobs if blob.digest in self.blobs)
        diff_ids = documents.diff_ids
        return tuple(
            RequiredBlob(digest=blob.digest, size=blob.size, diff_id=diff_ids.get(blob.digest))
            for blob in blobs
        )

    def told_by(
        self,
        image: LockedImage,
        locked: LockedPlatform,
        documents: PlatformImage,
        left_out: Collection[RequiredBlob],
    ) -> dict[Digest, ReadableLayer]:
        """The older layer by which each raw layer is told that travels and is not small.

        It is the one at the same height of the image that had the name before, else its highest:
        what was rebuilt lies where it lay. Where that one cannot be read, none is.
        """
        older = self.older.get((image.name, locked.platform), ())
        absent = {blob.digest for blob in left_out}
        return {
            layer.digest: before
            for height, layer in enumerate(documents.layers)
            if layer.digest not in absent and layer.size >= _SMALLEST
            if older and (before := older[min(height, len(older) - 1)])
        }

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


def _completed(layers: Layers, earlier: Layers) -> Layers:
    """An image's layers; in place of those that cannot be read, an earlier image's."""
    if not layers:
        return earlier
    pairs = zip_longest(layers, earlier[: len(layers)])
    return tuple(layer or before for layer, before in pairs)
