"""Descriptors and the JSON documents they point at: index, manifest, config.

Documents are parsed once, from bytes already checked against their digest, into frozen values. The
bytes themselves are kept: a document that is serialised again has another digest.

Source: OCI image specification v1.1 (descriptor.md, image-index.md, manifest.md, config.md) and
its elder twins, Docker's "Image Manifest Version 2, Schema 2". CVE-2021-41190 is why a document
must say one thing only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from airgapbuild.errors import IntegrityError
from airgapbuild.oci.digest import Digest, DigestField, digest_of, parse_digest
from airgapbuild.oci.field import SizeField
from airgapbuild.oci.platform import Platform, normalised

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

MAX_DOCUMENT: Final = 4 << 20
"""The largest manifest, index or config that is read, in bytes: what registries accept as well."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escaped half of a character; two of them may be a whole one."""
_ATTESTS_TYPE = "vnd.docker.reference.type"
_ATTESTS_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"


class _Document(BaseModel):
    """Unknown fields are somebody else's extension, not an error.

    Keys that differ in case alone are one: Go's readers take `Digest` for `digest`, and the last
    counts. In maps, such as annotations, they are two keys to everybody.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_have_one_spelling(cls, value: object) -> object:
        if isinstance(value, dict):
            known = {str(it.alias).casefold(): it.alias for it in cls.model_fields.values()}
            # Not lower(): to Go the long s of old print is an s.
            spelled = {str(key).casefold(): key for key in value}
            if len(spelled) != len(value):
                raise PydanticCustomError("spelling", "ambiguous, a key comes in two spellings")
            for folded, key in spelled.items():
                if folded in known and known[folded] != key:
                    raise PydanticCustomError(
                        "spelling",
                        "ambiguous, '{key}' should be '{known}'",
                        {"key": key, "known": known[folded]},
                    )
        return value


class Descriptor(_Document):
    """What some content is, its digest, and its size in bytes."""

    media_type: str
    digest: DigestField
    size: SizeField
    annotations: dict[str, str] | None = None


class _PlatformDocument(_Document):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _IndexEntry(Descriptor):
    platform: _PlatformDocument | None = None


class _IndexDocument(_Document):
    media_type: str | None = None
    manifests: list[_IndexEntry]


class _ManifestDocument(_Document):
    media_type: str | None = None
    config: Descriptor
    layers: list[Descriptor]
    artifact_type: str | None = None
    subject: Descriptor | None = None


class _RootFS(_Document):
    diff_ids: Annotated[list[DigestField], Field(alias="diff_ids")] = []


class _RunConfig(_Document):
    on_build: Annotated[list[str] | None, Field(alias="OnBuild")] = None


class _ConfigDocument(_PlatformDocument):
    rootfs: _RootFS
    config: _RunConfig | None = None


@dataclass(frozen=True)
class Content:
    """A document as it came: its descriptor and its very bytes."""

    descriptor: Descriptor
    raw: bytes


@dataclass(frozen=True)
class Attestation:
    """An attestation manifest of an index and the platform manifest that it speaks of.

    Source: BuildKit docs/attestations/attestation-storage.md.
    """

    descriptor: Descriptor
    subject: Digest


@dataclass(frozen=True)
class Index:
    """The platform manifests of an image, in the index's order, and their attestations."""

    platforms: tuple[tuple[Platform, Descriptor], ...]
    attestations: tuple[Attestation, ...]


@dataclass(frozen=True)
class Manifest:
    """The config and the layers of one platform's image (or of an artifact)."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str
    """What an artifact is: the manifest's own word, else its config's media type."""
    subject: Digest | None
    """The manifest or index that this one refers to."""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each content once, in order."""
        return tuple({blob.digest: blob for blob in (self.config, *self.layers)}.values())


@dataclass(frozen=True)
class Config:
    """What an image's config says of its platform, its layers, and builds on top of it."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    """The digest of each layer's uncompressed tar, lowest first."""
    on_build: tuple[str, ...] = ()
    """The instructions that each build on top of it runs first."""


def content(raw: bytes, media_type: str) -> Content:
    """These bytes with the descriptor that they have."""
    return Content(Descriptor(media_type=media_type, digest=digest_of(raw), size=len(raw)), raw)


def media_type_of(raw: bytes) -> str:
    """What a manifest or index says that it is; one that does not say is taken for OCI's."""
    try:
        document = json_object(raw)
    except ValueError:
        return ""
    said = document.get("mediaType")
    if isinstance(said, str) and said in INDEX_TYPES | MANIFEST_TYPES:
        return said
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def json_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in these bytes.

    A document must mean the same to every reader: it is UTF-8, without half characters, and no key
    comes twice.

    Raises:
        ValueError: they are not JSON, or another kind of it.

    Source: RFC 8259, sections 4, 6 and 8; RFC 7493 (I-JSON), which says what to refuse.
    """
    try:
        text = raw.decode()
        parsed = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        if _HALF.search(text):
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {_reason(error)}") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a value of a document, not a bug
    return parsed


def parse_index(document: Content, what: str) -> Index:
    """The index in these bytes.

    Raises:
        IntegrityError: the bytes are no index, or could be taken for something else as well.
    """
    parsed = _parse(document, what, _IndexDocument, INDEX_TYPES, forbidden=("layers", "config"))
    platforms, attestations = [], []
    for entry in parsed.manifests:
        notes = entry.annotations or {}
        plain = Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size)
        if notes.get(_ATTESTS_TYPE) == _ATTESTATION:
            attestations.append(Attestation(plain, _subject(notes.get(_ATTESTS_DIGEST, ""), what)))
        elif entry.platform is not None and entry.media_type in MANIFEST_TYPES:
            place = entry.platform
            platforms.append((normalised(place.os, place.architecture, place.variant), plain))
    return Index(tuple(platforms), tuple(attestations))


def parse_referrers(document: Content, what: str) -> tuple[Descriptor, ...]:
    """What a list of referrers names, each once.

    Raises:
        IntegrityError: the bytes are no index.

    Source: OCI distribution specification v1.1, "Listing Referrers".
    """
    parsed = _parse(document, what, _IndexDocument, INDEX_TYPES, forbidden=("layers", "config"))
    plain = (
        Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size)
        for entry in parsed.manifests
    )
    return tuple({descriptor.digest: descriptor for descriptor in plain}.values())


def parse_layout_index(raw: bytes, what: str) -> tuple[Descriptor, ...]:
    """What the index.json of an OCI layout names, with annotations.

    Raises:
        IntegrityError: the bytes are no index.
    """
    return tuple(_validate(_object(raw, what), what, _IndexDocument).manifests)


def parse_manifest(document: Content, what: str) -> Manifest:
    """The manifest in these bytes.

    Raises:
        IntegrityError: the bytes are no manifest, or could be taken for something else as well.
    """
    parsed = _parse(document, what, _ManifestDocument, MANIFEST_TYPES, forbidden=("manifests",))
    artifact_type = parsed.artifact_type or parsed.config.media_type
    subject = parsed.subject.digest if parsed.subject else None
    return Manifest(parsed.config, tuple(parsed.layers), artifact_type, subject)


def parse_config(raw: bytes, what: str) -> Config:
    """The image config in these bytes.

    Raises:
        IntegrityError: the bytes are no image config.
    """
    parsed = _validate(_object(raw, what), what, _ConfigDocument)
    platform = normalised(parsed.os, parsed.architecture, parsed.variant)
    on_build = parsed.config.on_build if parsed.config else None
    return Config(platform, tuple(parsed.rootfs.diff_ids), tuple(on_build or ()))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _reason(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeError) else str(error)


_D = TypeVar("_D", bound=_Document)


def _subject(text: str, what: str) -> Digest:
    try:
        return parse_digest(text)
    except ValueError as error:
        raise IntegrityError(f"{what}: annotation {_ATTESTS_DIGEST}: {error}") from error


def _parse(
    document: Content, what: str, model: type[_D], types: frozenset[str], forbidden: tuple[str, ...]
) -> _D:
    media_type = document.descriptor.media_type
    if media_type not in types:
        expected = " or ".join(sorted(types))
        raise IntegrityError(f"{what}: media type '{media_type}', expected {expected}")
    parsed = _object(document.raw, what)
    if (inner := parsed.get("mediaType", media_type)) != media_type:
        raise IntegrityError(f"{what}: it was served as '{media_type}' but calls itself '{inner}'")
    keys = {key.casefold() for key in parsed}  # Go's readers take `Layers` for `layers`
    if both := [key for key in forbidden if key in keys]:
        raise IntegrityError(f"{what}: ambiguous document, '{both[0]}' does not belong in it")
    return _validate(parsed, what, model)


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        return json_object(raw)
    except ValueError as error:
        raise IntegrityError(f"{what}: {error}") from error


def _validate(parsed: dict[str, Any], what: str, model: type[_D]) -> _D:
    try:
        return model.model_validate(parsed, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        told = f"{place}: {first['msg']}" if place else first["msg"]
        raise IntegrityError(f"{what}: {told}") from error
