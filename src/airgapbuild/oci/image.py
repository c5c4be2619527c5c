"""One platform of an image, as the documents that name its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.oci.content import Config, Manifest, parse_config, parse_manifest

if TYPE_CHECKING:
    from airgapbuild.oci.content import Content, Descriptor


@dataclass(frozen=True)
class PlatformImage:
    """An image's documents for one platform: from what its tag pointed at down to the config."""

    top: Content
    """The index; the manifest itself where there is no index."""
    manifest: Content
    config: Content
    attestations: tuple[Content, ...] = ()
    """The attestation manifests of this platform."""

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers, lowest first."""
        return self.parsed_manifest.layers

    @property
    def parsed_manifest(self) -> Manifest:
        """The manifest's config and layers."""
        return parse_manifest(self.manifest, f"manifest {self.manifest.descriptor.digest}")

    @property
    def parsed_config(self) -> Config:
        """The config's platform and diff IDs."""
        return parse_config(self.config.raw, f"config {self.config.descriptor.digest}")

    @property
    def documents(self) -> tuple[Content, ...]:
        """Index, manifest, config, attestation manifests: each content once, in this order."""
        every = (self.top, self.manifest, self.config, *self.attestations)
        return tuple({document.descriptor.digest: document for document in every}.values())

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What is not a document: the attestations' blobs, then the layers; each content once."""
        known = {document.descriptor.digest for document in self.documents}
        attested = (
            blob
            for attestation in self.attestations
            for blob in parse_manifest(
                attestation, f"attestation {attestation.descriptor.digest}"
            ).blobs
        )
        blobs = {blob.digest: blob for blob in (*attested, *self.layers)}
        return tuple(blob for digest, blob in blobs.items() if digest not in known)
