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
    referrers: tuple[Content, ...] = ()
    """The manifests that refer to the index or to the manifest: signatures, SBOMs."""
    upstream: tuple[Content, ...] = ()
    """What a derived image comes from: index and manifest as the registry has them."""

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
        """Index, manifest, config, then what is evidence only: each content once, in this order."""
        evidence = (*self.upstream, *self.attestations, *self.referrers)
        every = (self.top, self.manifest, self.config, *evidence)
        return tuple({document.descriptor.digest: document for document in every}.values())

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What is not a document: blobs of evidence, then layers; each once, smallest first."""
        known = {document.descriptor.digest for document in self.documents}
        evidence = (
            blob
            for document in (*self.attestations, *self.referrers)
            for blob in parse_manifest(document, f"manifest {document.descriptor.digest}").blobs
        )
        layers = {layer.digest: layer for layer in self.layers}
        blobs = {blob.digest: blob for blob in evidence} | layers
        wanted = (blob for digest, blob in blobs.items() if digest not in known)
        return tuple(sorted(wanted, key=lambda it: (it.digest in layers, it.size, it.digest)))
