"""Manifest + source → lock: what each reference means today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import AirgapbuildError, IntegrityError, ManifestError
from airgapbuild.lockfile import VERSION, Lock, LockedImage, LockedPlatform
from airgapbuild.manifest import ImageEntry, Manifest, entry_digest
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MAX_DOCUMENT,
    Attestation,
    Content,
    Descriptor,
    parse_config,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.source import Source, read_blob
from airgapbuild.progress import SILENT, Progress
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from airgapbuild.oci.platform import Platform
    from airgapbuild.oci.reference import Reference

_WORKERS: Final = 8
_UNSEALED = digest_of(b"")


@dataclass(frozen=True)
class Change:
    """What happened to one image between the lock before and the lock after."""

    name: str
    old: LockedImage | None
    new: LockedImage | None

    @property
    def kind(self) -> str:
        """`added`, `removed`, `moved` (other content), `changed` (same content) or `kept`."""
        if self.old is None:
            return "added"
        if self.new is None:
            return "removed"
        if self.old == self.new:
            return "kept"
        return "changed" if self.old.digest == self.new.digest else "moved"


def resolve(
    manifest: Manifest,
    source: Source,
    *,
    previous: Lock | None = None,
    upgrade: Collection[str] = (),
    progress: Progress = SILENT,
) -> Lock:
    """The lock for a manifest.

    Pins of `previous` whose reference and platforms did not change are kept without asking the
    source, except for the images named in `upgrade`.

    Raises:
        ManifestError: images lack platforms that are wanted; one line each.
        RegistryError, IntegrityError: the source does not have something, or has it wrong.
    """

    def image(item: tuple[str, ImageEntry]) -> LockedImage | AirgapbuildError:
        name, entry = item
        platforms = manifest.platforms_of(entry)
        pinned = None if name in upgrade or previous is None else previous.find(name)
        if pinned and pinned.ref == entry.ref and _platforms_of(pinned) == platforms:
            return _relabelled(pinned, entry)
        task = progress.task(f"{name}  {entry.ref.familiar}")
        try:
            locked = _pinned(name, entry, platforms, source)
        except AirgapbuildError as error:
            return error
        task.done(f"{locked.digest[:19]}…")
        return locked

    with pool(_WORKERS, "resolve") as threads:
        results = list(threads.map(image, sorted(manifest.images.items())))
    _raise_all(result for result in results if isinstance(result, AirgapbuildError))
    return Lock(
        version=VERSION,
        name=manifest.name,
        image=tuple(result for result in results if isinstance(result, LockedImage)),
        builder=manifest.builder,
        buildkitd=manifest.buildkitd,
    )


def changes(old: Lock | None, new: Lock) -> tuple[Change, ...]:
    """What happened to each image, by name."""
    before = {image.name: image for image in old.image} if old else {}
    after = {image.name: image for image in new.image}
    return tuple(
        Change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})
    )


def _raise_all(errors: Iterable[AirgapbuildError]) -> None:
    """The manifest's problems together, before the first of any other kind."""
    every = list(errors)
    if problems := [line for e in every if isinstance(e, ManifestError) for line in e.lines]:
        raise ManifestError(*problems)
    if every:
        raise every[0]


def _relabelled(image: LockedImage, entry: ImageEntry) -> LockedImage:
    """The same pins under the names and the role that are wanted now."""
    wish = {
        "role": entry.role,
        "tags": tuple(sorted(entry.tags)),
        "entry": entry_digest(entry.ref, entry.role, entry.tags, _platforms_of(image)),
    }
    return image.model_copy(update=wish).seal()


def _pinned(
    name: str, entry: ImageEntry, platforms: tuple[Platform, ...], source: Source
) -> LockedImage:
    top = source.manifest(entry.ref)
    found, attestations = _platforms(top, entry.ref, source)
    if lacking := [platform for platform in platforms if platform not in found]:
        has = ", ".join(str(platform) for platform in sorted(found)) or "none"
        raise ManifestError(
            *(f"images.{name}: {entry.ref.familiar} has no {it}; it has {has}" for it in lacking)
        )
    return LockedImage(
        name=name,
        ref=entry.ref,
        role=entry.role,
        tags=tuple(sorted(entry.tags)),
        media_type=top.descriptor.media_type,
        digest=top.descriptor.digest,
        size=top.descriptor.size,
        entry=entry_digest(entry.ref, entry.role, entry.tags, platforms),
        platform=tuple(
            _platform(platform, found[platform], attestations, entry.ref, source)
            for platform in platforms
        ),
        checksum=_UNSEALED,
    ).seal()


def _platforms_of(image: LockedImage) -> tuple[Platform, ...]:
    return tuple(locked.platform for locked in image.platform)


def _platforms(
    top: Content, ref: Reference, source: Source
) -> tuple[dict[Platform, Descriptor], tuple[Attestation, ...]]:
    """The platform manifests that a reference leads to; of two for one platform, the first."""
    if top.descriptor.media_type in INDEX_TYPES:
        index = parse_index(top, f"{ref.familiar}: index {top.descriptor.digest}")
        return dict(reversed(index.platforms)), index.attestations
    what = f"{ref.familiar}: manifest {top.descriptor.digest}"
    config = parse_manifest(top, what).config
    raw = read_blob(source, ref, _bounded(config, what))
    return {parse_config(raw, f"{what}: config").platform: top.descriptor}, ()


def _platform(
    platform: Platform,
    descriptor: Descriptor,
    attestations: tuple[Attestation, ...],
    ref: Reference,
    source: Source,
) -> LockedPlatform:
    document = source.manifest(ref.with_digest(descriptor.digest))
    manifest = parse_manifest(document, f"{ref.familiar}: {platform} manifest {descriptor.digest}")
    return LockedPlatform(
        platform=platform,
        manifest=descriptor.digest,
        manifest_size=document.descriptor.size,
        config=manifest.config.digest,
        layers_size=sum(layer.size for layer in manifest.layers),
        attestations=tuple(
            sorted(a.descriptor.digest for a in attestations if a.subject == descriptor.digest)
        ),
    )


def _bounded(descriptor: Descriptor, what: str) -> Descriptor:
    if descriptor.size > MAX_DOCUMENT:
        raise IntegrityError(f"{what}: a config of {descriptor.size} bytes is too large")
    return descriptor
