"""An image with its layers raw, derived from the one that a registry has.

Compression is all that changes: the config is the same, and with it the image ID in Docker's
classic store. The layers are named by the config's diff IDs, and a manifest of our own names both;
it follows from the others, so whoever reads it computes it and trusts nobody. The documents that it
comes from travel along as evidence.

Source: OCI image specification v1.1, manifest.md and config.md ("rootfs", `diff_ids`); layer.md,
"Distributable Format"; zlib's technical details (no deflate stream shrinks by more than 1032:1).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.content import (
    OCI_INDEX,
    OCI_MANIFEST,
    Content,
    Descriptor,
    content,
    json_object,
    parse_layout_index,
)
from airgapbuild.oci.digest import parse_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.platform import Platform

RAW_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DERIVED_FROM: Final = "airgapbuild.derived-from"
"""The annotation with the digest of what the image's tag pointed at."""
MAX_RATIO: Final = 1032
"""How many times its compressed size a layer may be: more than deflate cannot do."""

_CONFIG = "application/vnd.oci.image.config.v1+json"
_CONFIGS = frozenset({_CONFIG, "application/vnd.docker.container.image.v1+json"})
_LAYERS = frozenset(
    f"{kind}{compression}"
    for kind, compressions in {
        RAW_LAYER: ("", "+gzip", "+zstd"),
        "application/vnd.docker.image.rootfs.diff.tar": ("", ".gzip", ".zstd"),
    }.items()
    for compression in compressions
)
_HINT = 'layers = "exact" in [bundle] takes it as it is'


def raw_layers(image: PlatformImage, what: str) -> tuple[tuple[Digest, Descriptor], ...]:
    """The diff ID of each layer and the layer as the registry has it, lowest first.

    Raises:
        BundleError: it is no image, or has layers whose raw form cannot be had or told.
        IntegrityError: it has more layers than diff IDs, or fewer.
    """
    manifest = image.parsed_manifest
    for descriptor, known in ((manifest.config, _CONFIGS), *((it, _LAYERS) for it in image.layers)):
        if descriptor.media_type not in known:
            raise BundleError(
                f"{what}: '{descriptor.media_type}' has no place in a compact bundle", hint=_HINT
            )
    diff_ids = image.parsed_config.diff_ids
    if len(diff_ids) != len(image.layers):
        raise IntegrityError(
            f"{what}: {len(image.layers)} layers, but {len(diff_ids)} in the config"
        )
    return tuple(zip(diff_ids, image.layers, strict=True))


def derived(image: PlatformImage, sizes: Mapping[Digest, int], what: str) -> PlatformImage:
    """The image with raw layers of these sizes, in bytes, by diff ID.

    Raises:
        BundleError: see `raw_layers`; or a layer has no size, or one that it cannot have.
        IntegrityError: see `raw_layers`.
    """
    layers = [
        Descriptor(media_type=RAW_LAYER, digest=diff_id, size=_size(diff_id, layer, sizes, what))
        for diff_id, layer in raw_layers(image, what)
    ]
    config = image.config.descriptor.model_copy(update={"media_type": _CONFIG})
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _fields(config),
        "layers": [_fields(layer) for layer in layers],
        "annotations": {DERIVED_FROM: image.top.descriptor.digest},
    }
    manifest = content(_json(document), OCI_MANIFEST)
    upstream = (image.top, image.manifest)
    return replace(image, top=manifest, manifest=manifest, upstream=upstream)


def derived_from(manifest: Content) -> Digest | None:
    """What a derived image's tag pointed at, as its manifest says; None for another manifest.

    Raises:
        ValueError: it is no manifest, or no digest stands there.
    """
    annotations = json_object(manifest.raw).get("annotations")
    said = annotations.get(DERIVED_FROM) if isinstance(annotations, dict) else None
    return None if said is None else parse_digest(str(said))


def derived_index(
    images: Sequence[tuple[Platform, PlatformImage]],
    others: Mapping[Platform, Descriptor] | None = None,
) -> Content:
    """One document for the derived images of all platforms that are there, be it one.

    Without it BuildKit would take the one that is there for any platform that a build is for. What
    comes from a manifest alone stays one. `others` are manifests of further platforms.
    """
    first = images[0][1]
    if first.upstream and first.upstream[0] == first.upstream[-1]:
        return first.manifest
    own = {platform: image.manifest.descriptor for platform, image in images}
    entries = [
        {**_fields(manifest), "platform": _platform_fields(platform)}
        for platform, manifest in sorted(
            {**(others or {}), **own}.items(), key=lambda it: str(it[0])
        )
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return content(_json(document), OCI_INDEX)


def reduced_index(index: Content, kept: Collection[Digest]) -> Content:
    """The index with these of its manifests only; itself, where it has no others.

    Raises:
        IntegrityError: it is no index.
    """
    listed = parse_layout_index(index.raw, f"index {index.descriptor.digest}")
    if all(entry.digest in kept for entry in listed):
        return index
    document = json_object(index.raw)
    entries = [entry for entry in document["manifests"] if entry["digest"] in kept]
    annotations = {**(document.get("annotations") or {}), DERIVED_FROM: index.descriptor.digest}
    changed = {"manifests": entries, "annotations": annotations}
    return content(_json({**document, **changed}), index.descriptor.media_type)


def most_raw(layer: Descriptor) -> int:
    """How many bytes a compressed layer may come to."""
    return layer.size * MAX_RATIO


def too_large(layer: Descriptor, what: str) -> BundleError:
    """The error of a layer that comes to more."""
    return BundleError(
        f"{what}: layer {layer.digest} comes to more than {MAX_RATIO} times its size", hint=_HINT
    )


def _size(digest: Digest, layer: Descriptor, sizes: Mapping[Digest, int], what: str) -> int:
    if digest not in sizes:
        raise BundleError(f"{what}: the raw layer {digest} is not there")
    if sizes[digest] > most_raw(layer):
        raise too_large(layer, what)
    return sizes[digest]


def _fields(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }


def _platform_fields(platform: Platform) -> dict[str, str]:
    fields = {"architecture": platform.architecture, "os": platform.os}
    return {**fields, "variant": platform.variant} if platform.variant else fields


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
