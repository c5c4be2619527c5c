"""What refers to an image: the signatures, SBOMs and attestations that lie beside it.

An artifact manifest names its subject, and a registry lists them (`ReferringSource.referrers`).
Cosign's elder tags, `sha256-<hex>.sig` and `.att`, are looked up for what a tag points at. What
refers to a referrer is not followed.

Source: OCI distribution specification v1.1, "Listing Referrers" and "Referrers Tag Schema"; OCI
image specification v1.1, manifest.md, "subject"; sigstore/cosign specs/SIGNATURE_SPEC.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.errors import IntegrityError, RegistryError
from airgapbuild.oci.content import (
    MANIFEST_TYPES,
    OCI_INDEX,
    Manifest,
    content,
    json_object,
    parse_manifest,
)
from airgapbuild.oci.digest import encoded, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.oci.source import ReferringSource
    from airgapbuild.progress import Progress

MAX_REFERRERS: Final = 256
"""How many may refer to one subject: whoever may push may attach."""
LEAVE_OUT: Final = "attestations = false in [bundle] leaves signatures and the like out"

_COSIGN_SUFFIXES: Final = ("sig", "att")


@dataclass(frozen=True)
class Referrer:
    """A manifest that refers to an image."""

    descriptor: Descriptor
    subject: Digest
    manifest: Manifest
    tag: str | None = None
    """The tag that ties it to its subject, where the manifest itself does not."""

    @property
    def size(self) -> int:
        """Of the manifest and all its blobs, in bytes."""
        return self.descriptor.size + sum(blob.size for blob in self.manifest.blobs)


def fallback_tag(subject: Digest) -> str:
    """The tag under which a registry without the Referrers API keeps the list.

    Source: OCI distribution specification v1.1, "Referrers Tag Schema".
    """
    return f"sha256-{encoded(subject)}"


def listing(old: Content | None, added: Sequence[Content]) -> Content:
    """The list of referrers with these manifests in it as well.

    Raises:
        IntegrityError: one of them is no manifest.

    Source: OCI distribution specification v1.1, "Pushing Manifests with Subject".
    """
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    if old:
        document = json_object(old.raw)
    entries = [*document["manifests"], *map(_entry, added)]
    raw = json.dumps({**document, "manifests": entries}, separators=(",", ":")).encode()
    return content(raw, OCI_INDEX)


def _entry(document: Content) -> dict[str, Any]:
    """A manifest as a list of referrers names it: with its artifact type and annotations."""
    its = document.descriptor
    manifest = parse_manifest(document, f"manifest {its.digest}")
    entry = {
        "mediaType": its.media_type,
        "digest": its.digest,
        "size": its.size,
        "artifactType": manifest.artifact_type,
    }
    annotations = json_object(document.raw).get("annotations")
    return {**entry, "annotations": annotations} if annotations else entry


def find_referrers(
    source: ReferringSource, reference: Reference, subject: Digest, progress: Progress
) -> tuple[Referrer, ...]:
    """The manifests that refer to a manifest or index of `reference`'s repository.

    A list may name what is gone or what is no manifest; that is told, and passed over.

    Raises:
        RegistryError, BundleError, IntegrityError: see `ReferringSource`; or there are too many.
    """
    listed = source.referrers(reference, subject)
    if len(listed) > MAX_REFERRERS:
        raise RegistryError(
            f"{reference.familiar}: {len(listed)} manifests refer to {subject}, more than the "
            f"{MAX_REFERRERS} that are taken along",
            hint=LEAVE_OUT,
        )
    return tuple(_read(source, reference, subject, listed, progress))


def find_tagged(
    source: ReferringSource, reference: Reference, subject: Digest
) -> tuple[Referrer, ...]:
    """Cosign's signatures and attestations of a manifest or index, where tags tie them to it.

    Raises:
        RegistryError, BundleError, IntegrityError: see `ReferringSource.find`.
    """
    found = []
    for suffix in _COSIGN_SUFFIXES:
        tag = f"{fallback_tag(subject)}.{suffix}"
        if document := source.find(reference.with_tag(tag)):
            manifest = parse_manifest(document, reference.with_tag(tag).familiar)
            found.append(Referrer(document.descriptor, subject, manifest, tag))
    return tuple(found)


def _read(
    source: ReferringSource,
    reference: Reference,
    subject: Digest,
    listed: tuple[Descriptor, ...],
    progress: Progress,
) -> Iterator[Referrer]:
    for descriptor in listed:
        what = f"{reference.familiar}: {short(descriptor.digest)}, which refers to {short(subject)}"
        if descriptor.media_type not in MANIFEST_TYPES:
            progress.note(f"{what}, is left out: it is no manifest but '{descriptor.media_type}'")
            continue
        document = source.find(reference.with_digest(descriptor.digest))
        if document is None:
            progress.note(f"{what}, is left out: it is listed, but not there")
            continue
        manifest = parse_manifest(document, what)
        if manifest.subject != subject:
            raise IntegrityError(f"{what}, does not name it as its subject", hint=LEAVE_OUT)
        yield Referrer(document.descriptor, subject, manifest)
