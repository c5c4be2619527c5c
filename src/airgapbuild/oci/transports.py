"""One source for references of every transport."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airgapbuild.oci.local import LayoutSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.oci.source import ReferringSource


class Transports:
    """Asks registries, the daemon, or a layout, as each reference says; see `ReferringSource`.

    Folders of layouts are relative to `folder`.
    """

    def __init__(self, registries: ReferringSource, daemon: ReferringSource, folder: Path) -> None:
        self._registries = registries
        self._daemon = daemon
        self._folder = folder

    def manifest(self, reference: Reference) -> Content:
        """See `Source.manifest`."""
        return self._of(reference).manifest(reference)

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """See `Source.blob`."""
        return self._of(reference).blob(reference, descriptor)

    def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """See `ReferringSource.referrers`."""
        return self._of(reference).referrers(reference, digest)

    def find(self, reference: Reference) -> Content | None:
        """See `ReferringSource.find`."""
        return self._of(reference).find(reference)

    def _of(self, reference: Reference) -> ReferringSource:
        match reference.transport:
            case "registry":
                return self._registries
            case "docker-daemon":
                return self._daemon
            case "oci-layout":
                return LayoutSource(self._folder / Path(reference.repository).expanduser())
