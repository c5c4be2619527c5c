"""The documents that a lock's pins lead to, read from any source and checked against the pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.errors import IntegrityError, LockError
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MAX_DOCUMENT,
    Content,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.image import PlatformImage
from airgapbuild.oci.source import Source, read_blob

if TYPE_CHECKING:
    from airgapbuild.lockfile import LockedImage, LockedPlatform, LockedReferrer
    from airgapbuild.oci.digest import Digest


def read_pinned(source: Source, image: LockedImage, locked: LockedPlatform) -> PlatformImage:
    """One platform of a locked image: index, manifest, config, attestations and referrers.

    Raises:
        LockError: the documents do not say what the lock says of them.
        RegistryError, BundleError, IntegrityError: see `Source`.
    """
    top = source.manifest(image.ref.with_digest(image.digest))
    _agree(image, "digest", (top.descriptor.media_type, top.descriptor.size), _top_of(image))
    manifest = top
    if top.descriptor.media_type in INDEX_TYPES:
        index = parse_index(top, f"{image.name}: index {image.digest}")
        listed = {descriptor.digest for _, descriptor in index.platforms}
        _agree(image, f"{locked.platform}: manifest", locked.manifest in listed, wanted=True)
        attested = {a.descriptor.digest for a in index.attestations if a.subject == locked.manifest}
        wanted = set(locked.attestations)
        _agree(image, f"{locked.platform}: attestations", attested & wanted, wanted)
        manifest = _document(source, image, locked.manifest)
    parsed = parse_manifest(manifest, f"{image.name}: manifest {locked.manifest}")
    layers = sum(layer.size for layer in parsed.layers)
    found = (manifest.descriptor.size, parsed.config.digest, layers)
    pins = (locked.manifest_size, locked.config, locked.layers_size)
    _agree(image, f"{locked.platform}", found, pins)
    if parsed.config.size > MAX_DOCUMENT:
        raise IntegrityError(f"{image.name}: a config of {parsed.config.size} bytes is too large")
    return PlatformImage(
        top=top,
        manifest=manifest,
        config=Content(parsed.config, read_blob(source, image.ref, parsed.config)),
        attestations=tuple(_document(source, image, digest) for digest in locked.attestations),
        referrers=tuple(_referrer(source, image, entry) for entry in image.referrers_of(locked)),
    )


def _referrer(source: Source, image: LockedImage, locked: LockedReferrer) -> Content:
    document = _document(source, image, locked.digest)
    what = f"referrer {locked.digest}"
    parsed = parse_manifest(document, f"{image.name}: {what}")
    found = (document.descriptor.media_type, document.descriptor.size, parsed.artifact_type)
    _agree(image, what, found, (locked.media_type, locked.size, locked.artifact_type))
    if locked.tag is None:
        _agree(image, f"{what}: subject", parsed.subject, locked.subject)
    return document


def _document(source: Source, image: LockedImage, digest: Digest) -> Content:
    return source.manifest(image.ref.with_digest(digest))


def _top_of(image: LockedImage) -> tuple[str, int]:
    return image.media_type, image.size


def _agree(image: LockedImage, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise LockError(
            f"images.{image.name}: {what}: the lock says {wanted}, the content {found}",
            hint="restore airgapbuild.lock, or delete it and run `airgapbuild lock`",
        )
