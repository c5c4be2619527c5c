"""Manifest + source → lock: what each reference means today."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import AirgapbuildError, IntegrityError, ManifestError, RegistryError
from airgapbuild.lockfile import VERSION, Lock, LockedImage, LockedPlatform, LockedReferrer
from airgapbuild.manifest import BundleEntry, ImageEntry, Manifest, entry_digest
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MAX_DOCUMENT,
    Attestation,
    Content,
    Descriptor,
    Index,
    parse_config,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.platform import meant
from airgapbuild.oci.referrers import LEAVE_OUT, Referrer, find_referrers, find_tagged
from airgapbuild.oci.source import ReferringSource, Source, read_blob
from airgapbuild.progress import SILENT, Progress
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from concurrent.futures import Future, ThreadPoolExecutor

    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.platform import Platform
    from airgapbuild.oci.reference import Reference

_WORKERS: Final = 16
_UNSEALED = digest_of(b"")
_MAX_EVIDENCE: Final = 512 << 20
"""The most that one image's signatures, SBOMs and the like may hold, in bytes."""


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
    source: ReferringSource,
    *,
    previous: Lock | None = None,
    upgrade: Collection[str] = (),
    progress: Progress = SILENT,
) -> Lock:
    """The lock for a manifest.

    Pins of `previous` whose reference and platforms did not change are kept without asking the
    source, except for the images named in `upgrade`. So are their signatures: those that came
    later are found by an upgrade.

    Raises:
        ManifestError: images lack platforms that are wanted; one line each.
        RegistryError, IntegrityError: the source does not have something, or has it wrong; one
            line for each such thing, with the images that want it.
    """

    def image(item: tuple[str, ImageEntry]) -> LockedImage | _Failed:
        name, entry = item
        platforms = manifest.platforms_of(entry)
        pinned = None if name in upgrade or previous is None else previous.find(name)
        if pinned and (pinned.ref, _platforms_of(pinned)) != (entry.ref, platforms):
            pinned = None
        if pinned and pinned.attestations >= manifest.bundle.attestations:
            return _relabelled(pinned, entry, manifest.bundle)
        task = progress.task(f"{name}  {entry.ref.familiar}")
        reference = entry.ref.with_digest(pinned.digest) if pinned else entry.ref
        try:
            locked = _pinned(name, manifest, asked, reference)
        except AirgapbuildError as error:
            return _Failed(name, error)
        task.done(f"{locked.digest[:19]}…")
        return locked

    with pool(_WORKERS, "resolve") as threads, pool(_WORKERS, "ask") as askers:
        asked = _Asked(source, askers, progress)
        results = list(threads.map(image, sorted(manifest.images.items())))
    _raise_all([result for result in results if isinstance(result, _Failed)])
    return Lock(
        version=VERSION,
        name=manifest.name,
        image=tuple(result for result in results if isinstance(result, LockedImage)),
        builder=manifest.builder,
        buildkitd=manifest.buildkitd.locked,
    )


def changes(old: Lock | None, new: Lock) -> tuple[Change, ...]:
    """What happened to each image, by name."""
    before = {image.name: image for image in old.image} if old else {}
    after = {image.name: image for image in new.image}
    return tuple(
        Change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})
    )


@dataclass(frozen=True)
class _Failed:
    """An image that cannot be pinned."""

    name: str
    error: AirgapbuildError


def _raise_all(failed: Collection[_Failed]) -> None:
    """The manifest's problems together, or all of the kind that the first of any other kind is."""
    errors = [it.error for it in failed]
    if problems := [line for e in errors if isinstance(e, ManifestError) for line in e.lines]:
        raise ManifestError(*problems)
    if not errors:
        return
    first = errors[0]
    wanting: defaultdict[str, list[str]] = defaultdict(list)
    for it in failed:
        if it.error.kind == first.kind:
            wanting[it.error.message].append(f"images.{it.name}")
    lines = [f"{', '.join(names)}: {message}" for message, names in wanting.items()]
    hints = (error.hint for error in errors if error.kind == first.kind and error.hint)
    hint = next(hints, None)
    if isinstance(first, RegistryError):
        raise RegistryError(*lines, hint=hint, status=first.status) from first
    raise type(first)(*lines, hint=hint) from first


def _relabelled(image: LockedImage, entry: ImageEntry, bundle: BundleEntry) -> LockedImage:
    """The same pins under the names and the role that are wanted now."""
    wish: dict[str, object] = {
        "role": entry.purpose,
        "daemon": entry.daemon,
        "tags": tuple(sorted(entry.tags, key=str)),
        "entry": entry_digest(entry, _platforms_of(image), bundle),
    }
    if not bundle.attestations:
        bare = (locked.model_copy(update={"attestations": ()}) for locked in image.platform)
        wish |= {"attestations": False, "referrer": (), "platform": tuple(bare)}
    return image.model_copy(update=wish).seal()


@dataclass(frozen=True)
class _Asked:
    """A source and the threads that ask it: what does not wait for an answer is asked at once."""

    source: ReferringSource
    askers: ThreadPoolExecutor
    progress: Progress


def _pinned(name: str, manifest: Manifest, asked: _Asked, reference: Reference) -> LockedImage:
    """The pins of what `reference`, which may be the entry's with a digest, points at now."""
    entry = manifest.images[name]
    platforms = manifest.platforms_of(entry)
    top = asked.source.manifest(reference)
    found, attestations = _platforms(top, entry.ref, asked.source)
    if lacking := [platform for platform in platforms if platform not in found]:
        has = ", ".join(str(platform) for platform in sorted(found)) or "none"
        raise ManifestError(
            *(
                f"images.{name}: {entry.ref.familiar} has no {it}; it has {has}{_meant(it, found)}"
                for it in lacking
            )
        )
    if not manifest.bundle.attestations:
        attestations = ()
    subjects = dict.fromkeys((top.descriptor.digest, *(found[it].digest for it in platforms)))
    referring = _referring(tuple(subjects), entry, asked) if manifest.bundle.attestations else ()
    locked = asked.askers.map(
        lambda it: _platform(it, found[it], attestations, entry.ref, asked.source), platforms
    )
    image = LockedImage(
        name=name,
        ref=entry.ref,
        role=entry.purpose,
        daemon=entry.daemon,
        tags=tuple(sorted(entry.tags, key=str)),
        media_type=top.descriptor.media_type,
        digest=top.descriptor.digest,
        size=top.descriptor.size,
        entry=entry_digest(entry, platforms, manifest.bundle),
        attestations=manifest.bundle.attestations,
        platform=tuple(locked),
        checksum=_UNSEALED,
    )
    in_index = {attestation.descriptor.digest for attestation in attestations}
    referrers = [it for some in referring for it in some.result()]
    return image.model_copy(update={"referrer": _locked(entry, referrers, in_index)}).seal()


def _meant(lacking: Platform, found: Iterable[Platform]) -> str:
    near = meant(lacking, found)
    return f"; did you mean {near}?" if near else ""


def _referring(
    subjects: tuple[Digest, ...], entry: ImageEntry, asked: _Asked
) -> tuple[Future[tuple[Referrer, ...]], ...]:
    """The questions for all that refers to these; the first is what the reference points at."""
    ask, source, ref = asked.askers.submit, asked.source, entry.ref
    return (
        *(ask(find_referrers, source, ref, subject, asked.progress) for subject in subjects),
        ask(find_tagged, source, ref, subjects[0]),
    )


def _locked(
    entry: ImageEntry, referrers: list[Referrer], known: Collection[Digest]
) -> tuple[LockedReferrer, ...]:
    """The referrers' pins, each once, without what is locked as an attestation already."""
    first = {it.descriptor.digest: it for it in reversed(referrers)}
    wanted = [it for digest, it in first.items() if digest not in known]
    if (size := sum(it.size for it in wanted)) > _MAX_EVIDENCE:
        raise RegistryError(
            f"{entry.ref.familiar}: what refers to it holds {size} bytes, "
            f"more than the {_MAX_EVIDENCE} that are taken along",
            hint=LEAVE_OUT,
        )
    return tuple(
        LockedReferrer(
            digest=it.descriptor.digest,
            media_type=it.descriptor.media_type,
            artifact_type=it.manifest.artifact_type,
            size=it.descriptor.size,
            subject=it.subject,
            tag=it.tag,
        )
        for it in sorted(wanted, key=lambda it: (it.subject, it.descriptor.digest))
    )


def _platforms_of(image: LockedImage) -> tuple[Platform, ...]:
    return tuple(locked.platform for locked in image.platform)


def _platforms(
    top: Content, ref: Reference, source: ReferringSource
) -> tuple[dict[Platform, Descriptor], tuple[Attestation, ...]]:
    """The platform manifests that a reference leads to; of two for one platform, the first."""
    if top.descriptor.media_type in INDEX_TYPES:
        index = parse_index(top, f"{ref.familiar}: index {top.descriptor.digest}")
        index = index if ref.transport == "registry" else _there(index, ref, source)
        return dict(reversed(index.platforms)), index.attestations
    what = f"{ref.familiar}: manifest {top.descriptor.digest}"
    config = parse_manifest(top, what).config
    raw = read_blob(source, ref, _bounded(config, what))
    return {parse_config(raw, f"{what}: config").platform: top.descriptor}, ()


def _there(index: Index, ref: Reference, source: ReferringSource) -> Index:
    """What of an index is there: a daemon or a folder may hold some platforms of an image only."""

    def held(descriptor: Descriptor) -> bool:
        return source.find(ref.with_digest(descriptor.digest)) is not None

    return Index(
        tuple(entry for entry in index.platforms if held(entry[1])),
        tuple(attestation for attestation in index.attestations if held(attestation.descriptor)),
    )


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
