"""Where content comes from: a registry, a layout on disk, a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference


class Source(Protocol):
    """Gives documents by reference and blobs by descriptor.

    Implementations verify: whoever reads to the end without an error has read what the digest
    names. They may be called from several threads at once.
    """

    def manifest(self, reference: Reference) -> Content:
        """The manifest or index at this tag or digest; the digest decides where both are given.

        Raises:
            RegistryError, BundleError: it cannot be had.
            IntegrityError: what came is not of this digest.
        """

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """The chunks of a blob of `reference`'s repository, verified while they are read.

        Closing the iterator early frees what stands behind it.

        Raises:
            RegistryError, BundleError: it cannot be had, or breaks off.
            IntegrityError: the bytes are not those of the descriptor.
        """


class TaggedSource(Source, Protocol):
    """A source that also knows which tags there are."""

    def tags(self, reference: Reference) -> tuple[str, ...]:
        """The tags of `reference`'s repository.

        Raises:
            RegistryError: they cannot be had; many registries list none.
        """


class RangedSource(Source, Protocol):
    """A source that gives parts of blobs as well."""

    def part(
        self, reference: Reference, descriptor: Descriptor, start: int, stop: int
    ) -> Iterator[bytes]:
        """The bytes of a blob from `start` to `stop`, not verified: only a whole blob can be.

        Raises:
            RangeIgnored: it cannot be had but from its beginning.
            RegistryError, BundleError: it cannot be had, or breaks off.
        """


class ReferringSource(Source, Protocol):
    """A source that can also be asked for what nobody has pinned yet."""

    def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """The manifests that name the one of this digest as their subject.

        Raises:
            RegistryError, BundleError: the source does not say.
            IntegrityError: what it says is no list of referrers.
        """

    def find(self, reference: Reference) -> Content | None:
        """As `manifest`, None where there is no such tag or digest.

        Raises:
            RegistryError, BundleError: the source does not say.
        """


def read_blob(source: Source, reference: Reference, descriptor: Descriptor) -> bytes:
    """A small blob as a whole. The caller bounds its size by what it accepts as a descriptor."""
    return b"".join(source.blob(reference, descriptor))
