"""Two locks or bundles → what differs, and how much of the second is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.builder.settings import settings
from airgapbuild.bundle.reader import peek
from airgapbuild.files import must_exist
from airgapbuild.lockfile import read_lock
from airgapbuild.resolve import changes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airgapbuild.bundle.index import BundleIndex
    from airgapbuild.lockfile import Lock, LockedImage
    from airgapbuild.oci.digest import Digest


@dataclass(frozen=True)
class Difference:
    """One value that is another now; None where there is none."""

    what: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class ChangedImage:
    """An image that was `added`, `removed`, `moved` (other content) or `changed` (the same)."""

    name: str
    kind: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Diff:
    """What differs between two locks or bundles."""

    images: tuple[ChangedImage, ...]
    settings: tuple[Difference, ...]
    """The name, a bundle's serial, and the settings of the builder and of buildkitd."""
    size: int
    """Of the content that the second has and the first has not, in bytes."""
    exact: bool
    """Whether that is known blob by blob. A lock tells of manifests and of all layers together."""


@dataclass(frozen=True)
class _Side:
    lock: Lock
    index: BundleIndex | None


def diff(old: Path, new: Path) -> Diff:
    """What differs between two locks or bundles, of which one may be a lock, the other a bundle.

    Nothing of a bundle is read but its lock and its index; its tarballs may be elsewhere.

    Raises:
        UsageError: there is nothing of this name.
        BundleError, IntegrityError, LockError: one of them cannot be read.
    """
    before, after = _side(old), _side(new)
    size, exact = _new_content(before, after)
    images = tuple(
        ChangedImage(
            change.name, change.kind, _differences(_values(change.old), _values(change.new))
        )
        for change in changes(before.lock, after.lock)
        if change.kind != "kept"
    )
    tables = [
        {"name": side.lock.name, **serial, **settings(side.lock)}
        for side, serial in zip((before, after), _serials(before, after), strict=True)
    ]
    return Diff(images, _differences(*tables), size, exact)


def _serials(*sides: _Side) -> list[dict[str, str]]:
    """The serial of each of two bundles; a lock has none that could differ."""
    indexes = [side.index for side in sides if side.index]
    if len(indexes) < len(sides):
        return [{} for _ in sides]
    return [{} if it.serial is None else {"serial": str(it.serial)} for it in indexes]


def _side(path: Path) -> _Side:
    must_exist(path)
    if path.is_dir():
        bundle = peek(path)
        return _Side(bundle.lock, bundle.index)
    return _Side(read_lock(path), None)


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Difference, ...]:
    return tuple(
        Difference(what, old.get(what), new.get(what))
        for what in {**old, **new}
        if old.get(what) != new.get(what)
    )


def _values(image: LockedImage | None) -> dict[str, str]:
    """What a lock says of an image."""
    if image is None:
        return {}
    return {
        "ref": image.ref.familiar,
        "digest": image.digest,
        "role": image.role,
        **({"daemon": "true"} if image.daemon else {}),
        "names": ", ".join(name.familiar for name in image.names),
        **{str(locked.platform): locked.manifest for locked in image.platform},
        **{
            f"{locked.platform} attestations": ", ".join(locked.attestations)
            for locked in image.platform
            if locked.attestations
        },
        **{f"{entry.artifact_type} {entry.digest}": entry.digest for entry in image.referrer},
    }


def _new_content(old: _Side, new: _Side) -> tuple[int, bool]:
    """The size of what is new, in bytes, and whether it is known blob by blob."""
    if old.index and new.index:
        return _beyond(_blobs(old.index), _blobs(new.index)), True
    pinned = {locked.manifest for image in old.lock.image for locked in image.platform}
    if new.index:
        held: dict[Digest, int] = {}
        for file in new.index.files:
            own = {blob.digest: blob.size for blob in file.blobs}
            if not pinned.isdisjoint(own):
                held |= own
        return _beyond(held, _blobs(new.index)), False
    if old.index:
        pinned |= _blobs(old.index).keys()
    sizes = {
        locked.manifest: locked.manifest_size + locked.layers_size
        for image in new.lock.image
        for locked in image.platform
    }
    return _beyond(dict.fromkeys(pinned, 0), sizes), False


def _blobs(index: BundleIndex) -> dict[Digest, int]:
    """What the images of a bundle consist of, whether or not it travels with it."""
    return {it.digest: it.size for file in index.files for it in (*file.blobs, *file.requires)}


def _beyond(held: Mapping[Digest, int], wanted: Mapping[Digest, int]) -> int:
    """The size of what is wanted and not held."""
    return sum(size for digest, size in wanted.items() if digest not in held)
