"""Bundle, tarball or lock → what is in it.

No more is verified than has to be to read safely: documents by the digests that lead to them,
layers not at all. Whether all is whole and right, `verify` tells.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from airgapbuild.builder.settings import settings
from airgapbuild.bundle.head import is_tarball, read_head
from airgapbuild.bundle.index import part_name, whole_name
from airgapbuild.bundle.reader import Bundle, peek
from airgapbuild.bundle.signature import is_signed
from airgapbuild.errors import UsageError
from airgapbuild.files import must_exist
from airgapbuild.lockfile import LockedImage, LockedPlatform, read_lock
from airgapbuild.oci.content import parse_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from airgapbuild.bundle.index import BundledFile, OlderBlob
    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage

_PREDICATE: Final = "in-toto.io/predicate-type"
_UNNAMED: Final = "-"


@dataclass(frozen=True)
class Evidence:
    """An attestation manifest, or a manifest that refers to the image."""

    digest: Digest
    types: tuple[str, ...]
    """What it states, by its predicate types; of a referrer, its artifact type."""


@dataclass(frozen=True)
class InspectedPlatform:
    """One platform of an image."""

    platform: str
    manifest: Digest
    config: Digest
    size: int
    """Of all layers, in bytes."""
    evidence: tuple[Evidence, ...]
    tarball: str | None = None
    """The file that it lies in; None in a lock."""
    parts: tuple[str, ...] = ()
    """The files that it lies in, where it is split."""
    here: bool = True
    """Whether it is there."""
    layers: tuple[Descriptor, ...] | None = None
    """Lowest first; None where no document is at hand that names them."""
    derived: Digest | None = None
    """The manifest of the raw layers, where they are raw: a containerd store's ID of the image."""
    upstream: tuple[Descriptor, ...] = ()
    """The layers as the registry has them, where the tarball has them raw."""
    lacking: tuple[Descriptor, ...] = ()
    """What the image consists of and the tarball has not: the receiver must hold it."""
    references: tuple[OlderBlob, ...] = ()
    """Older layers by which some of the tarball's are told: the receiver must hold them, too."""


@dataclass(frozen=True)
class InspectedImage:
    """One image."""

    name: str
    role: str | None
    """None in a tarball: only a lock says it."""
    places: tuple[str, ...]
    """Where it goes: `daemon`, `layout` or both; none in a tarball."""
    ref: str | None
    names: tuple[str, ...]
    """The names that it gets where it is loaded."""
    media_type: str
    digest: Digest
    size: int
    """Of the index or manifest, in bytes."""
    platforms: tuple[InspectedPlatform, ...]


@dataclass(frozen=True)
class Inspected:
    """What is in a bundle, a tarball or a lock."""

    kind: str
    """`bundle`, `tarball` or `lock`."""
    path: Path
    images: tuple[InspectedImage, ...]
    lock: Lock | None = None
    """The lock, for what it says of the builder; a tarball has none."""
    serial: int | None = None
    """Of a bundle that has one."""
    signed: bool = False
    """Whether a bundle has a signature. By whom, and of what, is not looked at."""
    size: int | None = None
    """Of all files of a bundle together, in bytes."""

    @cached_property
    def owners(self) -> dict[Digest, tuple[str, ...]]:
        """The images and platforms that have a layer, by its digest."""
        owners: defaultdict[Digest, dict[str, None]] = defaultdict(dict)
        for image in self.images:
            for platform in image.platforms:
                for layer in platform.layers or ():
                    owners[layer.digest][f"{image.name} {platform.platform}"] = None
        return {digest: tuple(found) for digest, found in owners.items()}

    @property
    def settings(self) -> dict[str, str]:
        """What the lock says of the builder and of buildkitd.toml, by dotted keys."""
        return settings(self.lock) if self.lock else {}


def inspect(path: Path) -> Inspected:
    """What is in a bundle's folder, a tarball or a lock.

    Raises:
        UsageError: there is nothing of this name.
        BundleError, IntegrityError, LockError: it cannot be read, or is none of the three.
    """
    must_exist(path)
    if path.is_dir():
        return inspect_bundle(peek(path))
    if path.name not in {whole_name(path.name), first_part := part_name(whole_name(path.name), 1)}:
        raise UsageError(
            f"{path}: is not the first part", hint=f"give {path.with_name(first_part)}"
        )
    if is_tarball(path):
        return Inspected("tarball", path, (_headed(path),))
    lock = read_lock(path)
    return Inspected("lock", path, tuple(_locked(image) for image in lock.image), lock)


def inspect_bundle(bundle: Bundle, *, unread: Collection[str] = ()) -> Inspected:
    """What is in a bundle. Of the tarballs in `unread`, only what the lock says of them.

    Raises:
        BundleError, IntegrityError, LockError: another tarball cannot be read.
    """
    files = tuple(file for file in bundle.index.files if file.name not in unread)
    readable = replace(bundle, index=bundle.index.model_copy(update={"files": files}))
    images = tuple(_locked(image, bundle, readable) for image in bundle.lock.image)
    return Inspected(
        "bundle",
        bundle.folder,
        images,
        bundle.lock,
        serial=bundle.index.serial,
        signed=is_signed(bundle.folder),
        size=sum(file.size for file in bundle.index.files),
    )


def _locked(
    image: LockedImage, bundle: Bundle | None = None, readable: Bundle | None = None
) -> InspectedImage:
    return InspectedImage(
        name=image.name,
        role=image.role,
        places=image.places,
        ref=image.ref.familiar,
        names=tuple(str(name) for name in image.names),
        media_type=image.media_type,
        digest=image.digest,
        size=image.size,
        platforms=tuple(_platform(image, locked, bundle, readable) for locked in image.platform),
    )


def _platform(
    image: LockedImage, locked: LockedPlatform, bundle: Bundle | None, readable: Bundle | None
) -> InspectedPlatform:
    file = bundle.index.tarball(image.name, locked.platform) if bundle else None
    here = bundle is not None and bundle.has(image, locked)
    legible = readable is not None and readable.has(image, locked)
    documents = readable.image(image, locked) if readable and legible else None
    referrers = (
        Evidence(entry.digest, (entry.artifact_type,)) for entry in image.referrers_of(locked)
    )
    attested = (
        _attestations(documents)
        if documents
        else (Evidence(digest, ()) for digest in locked.attestations)
    )
    return InspectedPlatform(
        platform=str(locked.platform),
        manifest=locked.manifest,
        config=locked.config,
        size=locked.layers_size,
        evidence=(*attested, *referrers),
        tarball=file.name if file else None,
        parts=tuple(part.name for part in file.parts) if file else (),
        here=here,
        layers=documents.layers if documents else None,
        derived=_derived(documents),
        upstream=_upstream(documents),
        lacking=_lacking(documents, file) if documents and file else (),
        references=file.references if file else (),
    )


def _headed(path: Path) -> InspectedImage:
    names, documents = read_head(path)
    of_registry = documents.upstream or (documents.top, documents.manifest)
    top, manifest = (document.descriptor for document in of_registry)
    upstream = _upstream(documents)
    platform = InspectedPlatform(
        platform=str(documents.parsed_config.platform),
        manifest=manifest.digest,
        config=documents.config.descriptor.digest,
        size=sum(layer.size for layer in upstream or documents.layers),
        evidence=tuple(_attestations(documents)),
        tarball=path.name,
        layers=documents.layers,
        derived=_derived(documents),
        upstream=upstream,
    )
    return InspectedImage(
        name=_UNNAMED,
        role=None,
        places=(),
        ref=None,
        names=names,
        media_type=top.media_type,
        digest=top.digest,
        size=top.size,
        platforms=(platform,),
    )


def _derived(documents: PlatformImage | None) -> Digest | None:
    return documents.manifest.descriptor.digest if documents and documents.upstream else None


def _upstream(documents: PlatformImage | None) -> tuple[Descriptor, ...]:
    if documents is None or not documents.upstream:
        return ()
    manifest = documents.upstream[-1]
    return parse_manifest(manifest, f"manifest {manifest.descriptor.digest}").layers


def _attestations(documents: PlatformImage) -> Iterable[Evidence]:
    for document in documents.attestations:
        digest = document.descriptor.digest
        statements = parse_manifest(document, f"attestation {digest}").layers
        types = [(statement.annotations or {}).get(_PREDICATE) for statement in statements]
        yield Evidence(digest, tuple(sorted({found for found in types if found})))


def _lacking(documents: PlatformImage, file: BundledFile) -> tuple[Descriptor, ...]:
    held = {blob.digest for blob in file.blobs}
    return tuple(blob for blob in documents.blobs if blob.digest not in held)
