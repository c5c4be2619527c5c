"""One platform of an image, as the documents that name its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.oci.content import Config, Manifest, parse_config, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest


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

    @property
    def diff_ids(self) -> dict[Digest, Digest]:
        """The diff ID of each layer, by the layer's digest."""
        pairs = zip(self.layers, self.parsed_config.diff_ids, strict=False)
        return {layer.digest: diff_id for layer, diff_id in pairs}

    def bottom(self, count: int) -> tuple[Descriptor, ...]:
        """The lowest `count` layers, each once, without those that lie farther up as well."""
        above = {layer.digest for layer in self.layers[count:]}
        lowest = {layer.digest: layer for layer in self.layers[:count]}
        return tuple(layer for digest, layer in lowest.items() if digest not in above)


def common(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
