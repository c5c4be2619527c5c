"""One source for references of every transport."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airgapbuild.files import expanded
from airgapbuild.oci.local import LayoutSource
from airgapbuild.oci.source import RangedSource, ReferringSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference


class WholeSource(ReferringSource, RangedSource, Protocol):
    """A source that `lock` and `export` can both work with."""


class Transports:
    """Asks registries, the daemon, or a layout, as each reference says; see `WholeSource`.

    Folders of layouts are relative to `folder`.
    """

    def __init__(self, registries: WholeSource, daemon: WholeSource, folder: Path) -> None:
        self._registries = registries
        self._daemon = daemon
        self._folder = folder

    def manifest(self, reference: Reference) -> Content:
        """See `Source.manifest`."""
        return self._of(reference).manifest(reference)

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """See `Source.blob`."""
        return self._of(reference).blob(reference, descriptor)

    def part(
        self, reference: Reference, descriptor: Descriptor, start: int, stop: int
    ) -> Iterator[bytes]:
        """See `RangedSource.part`."""
        return self._of(reference).part(reference, descriptor, start, stop)

    def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """See `ReferringSource.referrers`."""
        return self._of(reference).referrers(reference, digest)

    def find(self, reference: Reference) -> Content | None:
        """See `ReferringSource.find`."""
        return self._of(reference).find(reference)

    def _of(self, reference: Reference) -> WholeSource:
        match reference.transport:
            case "registry":
                return self._registries
            case "docker-daemon":
                return self._daemon
            case "oci-layout":
                return LayoutSource(self._folder / expanded(Path(reference.repository)))
