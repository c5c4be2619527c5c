"""The documents at the beginning of a tarball, read without a bundle around it.

A tarball's layers come last, so what it is can be told from its first few kilobytes. Each document
is verified by the digest that leads to it; what leads to the first is the tarball's own word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from airgapbuild.bundle.compact import WINDOW
from airgapbuild.bundle.frames import MAGIC, decompressed
from airgapbuild.bundle.parts import Joined, from_first
from airgapbuild.bundle.walk import Stream, member_of
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.archive import BLOCK, END, Member, blob_digest
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT,
    Content,
    Descriptor,
    content,
    json_object,
    media_type_of,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.derived import derived, derived_from
from airgapbuild.oci.digest import verified
from airgapbuild.oci.image import PlatformImage
from airgapbuild.oci.layout import IMAGE_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.oci.digest import Digest

_MAX_DOCUMENTS: Final = 64


def is_tarball(path: Path) -> bool:
    """Whether a file begins as one of a bundle's tarballs does."""
    try:
        with path.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error


def read_head(path: Path) -> tuple[tuple[str, ...], PlatformImage]:
    """The names that a tarball gives its image, and the image's documents.

    Of a tarball in parts, `path` is the first; the others are read where they lie beside it.

    Raises:
        BundleError: it is cut, or no tarball of a bundle.
        IntegrityError: a document is not what its digest says.
    """
    try:
        paths = from_first(path)
        with Joined(paths) as opened:
            stream = Stream(decompressed(opened, path.name, window=WINDOW))
            entries = _entries(stream, path.name)
            documents = _documents(stream, entries[0], path.name)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    names = [(entry.annotations or {}).get(IMAGE_NAME, "") for entry in entries]
    image = _image(documents, entries[0], path.name)
    return tuple(name for name in names if name), image


def _entries(stream: Stream, what: str) -> list[Descriptor]:
    """The descriptors in index.json: the same one, once for each name."""
    while (member := _next(stream, what)) and member.name != "index.json":
        _data(stream, member, what)
    if member is None:
        raise BundleError(f"{what}: has no index.json before its blobs")
    try:
        found = json_object(_data(stream, member, what)).get("manifests")
        entries = [
            Descriptor.model_validate(entry, by_alias=True, by_name=False) for entry in found or ()
        ]
    except (ValueError, TypeError, ValidationError) as error:
        raise BundleError(f"{what}: index.json is none of an image") from error
    if len({entry.digest for entry in entries}) != 1:
        raise BundleError(f"{what}: index.json names no image, or more than one")
    return entries


def _documents(stream: Stream, top: Descriptor, what: str) -> dict[Digest, Content]:
    """The documents that the first one leads to and that come before the first other blob."""
    wanted: dict[Digest, Descriptor | None] = {top.digest: top}
    documents: dict[Digest, Content] = {}
    while (member := _next(stream, what)) and len(documents) < _MAX_DOCUMENTS:
        digest = blob_digest(member.name)
        if digest and digest not in wanted:
            break
        raw = _data(stream, member, what)
        if digest is None:
            continue
        descriptor = wanted[digest] or content(raw, media_type_of(raw)).descriptor
        for _ in verified([raw], digest, descriptor.size, f"{what}: {member.name}"):
            documents[digest] = Content(descriptor, raw)
        wanted = {**_leads_to(Content(descriptor, raw), what), **wanted}
    return documents


def _leads_to(document: Content, what: str) -> dict[Digest, Descriptor | None]:
    """The documents that an index or a manifest names; of some the digest only."""
    found: list[Descriptor] = []
    if document.descriptor.media_type in INDEX_TYPES:
        index = parse_index(document, what)
        found += [descriptor for _, descriptor in index.platforms]
        found += [attestation.descriptor for attestation in index.attestations]
    if document.descriptor.media_type in MANIFEST_TYPES:
        found.append(parse_manifest(document, what).config)
        if origin := _origin(document, what):
            return {origin: None, found[0].digest: found[0]}
    return {descriptor.digest: descriptor for descriptor in found}


def _origin(document: Content, what: str) -> Digest | None:
    try:
        return derived_from(document)
    except ValueError as error:
        raise BundleError(f"{what}: {document.descriptor.digest}: {error}") from error


def _image(documents: dict[Digest, Content], top: Descriptor, what: str) -> PlatformImage:
    """The image that the tarball's entry names; a derived one is derived anew, and compared."""
    document = documents.get(top.digest)
    if document is None or top.media_type in INDEX_TYPES or not (origin := _origin(document, what)):
        return _found(documents, top, what)
    if origin not in documents:
        raise BundleError(f"{what}: {origin} does not come before the layers")
    sizes = {layer.digest: layer.size for layer in parse_manifest(document, what).layers}
    image = derived(_found(documents, documents[origin].descriptor, what), sizes, what)
    if image.top.descriptor.digest != top.digest:
        raise IntegrityError(f"{what}: {top.digest} does not follow from {origin}")
    return image


def _found(documents: dict[Digest, Content], top: Descriptor, what: str) -> PlatformImage:
    manifest = top.digest
    attestations: tuple[Digest, ...] = ()
    if top.digest in documents and top.media_type in INDEX_TYPES:
        index = parse_index(documents[top.digest], what)
        here = [found.digest for _, found in index.platforms if found.digest in documents]
        manifest = here[0] if here else top.digest
        attestations = tuple(
            attestation.descriptor.digest
            for attestation in index.attestations
            if attestation.subject == manifest and attestation.descriptor.digest in documents
        )
    try:
        config = parse_manifest(documents[manifest], what).config.digest
        return PlatformImage(
            top=documents[top.digest],
            manifest=documents[manifest],
            config=documents[config],
            attestations=tuple(documents[digest] for digest in attestations),
        )
    except KeyError as error:
        raise BundleError(f"{what}: {error.args[0]} does not come before the layers") from None


def _next(stream: Stream, what: str) -> Member | None:
    """The next member; None at the end, or where it is too large for a document."""
    block = stream.exactly(BLOCK, what)
    if block == END[:BLOCK]:
        return None
    member = member_of(block, what)
    return member if member.size <= MAX_DOCUMENT else None


def _data(stream: Stream, member: Member, what: str) -> bytes:
    data = stream.exactly(member.size, what)
    stream.exactly(len(member.padding), what)
    return data
