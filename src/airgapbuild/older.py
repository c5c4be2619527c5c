"""Where, behind the gap, the older layers are by which a differential bundle tells its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from airgapbuild.bundle.layers import raw
from airgapbuild.bundle.older import OlderLayer, ReadableLayer, copied, laid_out
from airgapbuild.engine.archive import saved_files
from airgapbuild.errors import IntegrityError
from airgapbuild.oci.content import Descriptor
from airgapbuild.oci.derived import most_raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airgapbuild.bundle.index import OlderBlob
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout

_READ: Final = 1 << 20


@dataclass
class OlderLayers:
    """Finds a layer in bundles, in the layout, or in an image of the daemon, and lays it out.

    Where there is no daemon or no layout, it is not looked for there.
    """

    bases: Sequence[Bundle]
    daemon: Daemon | None
    layout: Layout | None
    scratch: Path
    _found: dict[Digest, OlderLayer | None] = field(default_factory=dict)

    def find(self, blob: OlderBlob) -> OlderLayer | None:
        """The raw layer; None where it is nowhere.

        Raises:
            BundleError, DaemonError: one of the places cannot be read.
        """
        digest = blob.digest
        if digest not in self._found:
            self._found[digest] = None  # where it is told by itself, it is nowhere
            layer = self._in_bases(digest) or self._in_layout(digest)
            self._found[digest] = (
                laid_out(layer, self.scratch) if layer else self._in_daemon(digest, blob.size)
            )
        return self._found[digest]

    def _in_bases(self, digest: Digest) -> ReadableLayer | None:
        for base in self.bases:
            for image in base.lock.image:
                for locked in image.platform:
                    if base.has(image, locked) and (
                        found := _in_image(base, image, locked, digest)
                    ):
                        return found
        return None

    def _in_layout(self, digest: Digest) -> ReadableLayer | None:
        path = self.layout.blob_path(digest) if self.layout else None
        if path is None or not path.is_file():
            return None
        return ReadableLayer(digest, path.stat().st_size, partial(_content, path))

    def _in_daemon(self, digest: Digest, size: int) -> OlderLayer | None:
        """From what the daemon saves of an image that has the layer.

        Stores and versions save it under different names, raw or as it came: its digest tells.
        """
        if self.daemon is None:
            return None
        holders = [it for it, chain in self.daemon.layer_chains().items() if digest in chain]
        for identifier in holders:
            for _, length, content in saved_files(self.daemon.save(identifier), identifier):
                blob = Descriptor(media_type="", digest=digest, size=length)
                with suppress(IntegrityError):
                    file, got = copied(raw(blob, content.chunks()), size, self.scratch)
                    if got == digest:
                        return OlderLayer(digest, file)
                    file.close()
        return None


def _in_image(
    base: Bundle, image: LockedImage, locked: LockedPlatform, digest: Digest
) -> ReadableLayer | None:
    documents, tarball = base.image(image, locked), base.alone(image, locked)
    for layer in documents.layers:
        if documents.diff_ids.get(layer.digest) == digest and tarball.tells(layer.digest):
            limit = layer.size if layer.digest == digest else most_raw(layer)
            read = partial(_raw, tarball, image, layer)
            return ReadableLayer(digest, limit, read)
    return None


def _raw(tarball: Bundle, image: LockedImage, layer: Descriptor) -> Iterator[bytes]:
    return raw(layer, tarball.blob(image.ref, layer))


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _chunks(file)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_READ):
        yield chunk
