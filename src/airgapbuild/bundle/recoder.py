"""From an exact tarball under construction to a compact one.

A layer is decompressed twice, since its size stands in the tar before it: at first what it comes to
is measured, and proven by its diff ID; then it is compressed anew.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airgapbuild.bundle.compact import write_compact
from airgapbuild.bundle.index import OlderBlob, beyond
from airgapbuild.bundle.layers import raw
from airgapbuild.bundle.older import laid_out
from airgapbuild.bundle.packaging import DEFAULT_LEVEL
from airgapbuild.bundle.parts import PartWriter
from airgapbuild.errors import IntegrityError
from airgapbuild.oci.archive import archive_members
from airgapbuild.oci.derived import derived, most_raw, raw_layers, too_large
from airgapbuild.oci.digest import verified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from airgapbuild.bundle.index import BundledBlob, BundledFile, RequiredBlob
    from airgapbuild.bundle.older import OlderLayer, ReadableLayer
    from airgapbuild.bundle.packaging import Packaging
    from airgapbuild.bundle.writer import Tarball
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.progress import Task


class CompactTarball:
    """A compact tarball under construction, beside the exact one that it comes from."""

    def __init__(self, folder: Path, exact: Tarball, packaging: Packaging) -> None:
        self.name = exact.name
        self._folder = folder
        self._exact = exact
        self._packaging = packaging
        self._sections = {section.digest: section for section in exact.missing}
        self._writer = PartWriter(
            folder, exact.name, packaging.part_size, staged=f"{exact.name}.compact"
        )
        self._blobs: tuple[BundledBlob, ...] = ()
        self._requires: tuple[RequiredBlob, ...] = ()
        self._references: tuple[OlderBlob, ...] = ()

    def fill(
        self,
        image: PlatformImage,
        pin: tuple[LockedImage, LockedPlatform],
        task: Task,
    ) -> None:
        """Writes all of it; memory depends on the level, not on the layers' sizes.

        `task` advances by what is read: twice the size of the layers.

        Raises:
            IntegrityError: a layer is not what its diff ID says.
            BundleError: it is more than a layer may be.
        """
        layers = dict(raw_layers(image, self.name))

        def read(blob: Descriptor) -> Iterator[bytes]:
            if layer := layers.get(blob.digest):
                chunks = raw(layer, self._content(layer, task))
                return verified(chunks, blob.digest, blob.size, self.name)
            return self._content(blob, task)

        sizes = {diff_id: self._measured(it, diff_id, task) for diff_id, it in layers.items()}
        level = self._packaging.compact_level or DEFAULT_LEVEL
        made = derived(image, sizes, self.name)
        self._requires = self._packaging.left_out(*pin, made)
        members = archive_members(made, pin[0].names, wanted=beyond(self._requires))
        older = self._laid_out(self._packaging.told_by(*pin, made, self._requires))
        self._blobs = write_compact(members, layers, level, read, self._writer.write, older)
        sizes = {layer.digest: layer.size for layer in older.values()}
        self._references = tuple(OlderBlob(digest=it, size=sizes[it]) for it in sorted(sizes))

    def commit(self) -> BundledFile:
        """The file, or its parts, under their names, and what bundle.json says of it.

        The exact one goes away.
        """
        self._writer.commit()
        self._exact.abandon()
        what = {
            "image": self._exact.image,
            "platform": self._exact.platform,
            "blobs": self._blobs,
            "requires": self._requires,
            "references": self._references,
        }
        return self._writer.finish().model_copy(update=what)

    def abandon(self) -> None:
        """Nothing is left of it; the exact one stays."""
        self._writer.abandon()

    def _content(self, blob: Descriptor, task: Task) -> Iterator[bytes]:
        for piece in self._exact.read(self._sections[blob.digest]):
            task.advance(len(piece))
            yield bytes(piece)

    def _laid_out(self, told_by: Mapping[Digest, ReadableLayer]) -> dict[Digest, OlderLayer]:
        """The older layers to go by, each laid out once."""
        layers = {layer.diff_id: layer for layer in told_by.values()}
        files = {diff_id: laid_out(it, self._folder) for diff_id, it in layers.items()}
        return {digest: files[layer.diff_id] for digest, layer in told_by.items()}

    def _measured(self, layer: Descriptor, diff_id: Digest, task: Task) -> int:
        """The size of a layer's tar."""
        hasher = hashlib.sha256()
        size = 0
        for chunk in raw(layer, self._content(layer, task)):
            hasher.update(chunk)
            size += len(chunk)
            if size > most_raw(layer):
                raise too_large(layer, self.name)
        if (got := f"sha256:{hasher.hexdigest()}") != diff_id:
            raise IntegrityError(
                f"{self.name}: layer {layer.digest} comes to {got}, but the config says {diff_id}"
            )
        return size
