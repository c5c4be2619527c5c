"""Inventory, bundle or lock → what a receiver holds already.

A bundle or a lock stands for a receiver that has loaded it: its images for the daemon on its
platform, the others in its layout. A lock names manifests only; the documents below them are asked
for by digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.bundle.baseline import Baseline, HeldLayer
from airgapbuild.bundle.index import Base
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.errors import BundleError, UsageError
from airgapbuild.inventory import parse_inventory
from airgapbuild.lockfile import parse_lock, render_lock
from airgapbuild.oci.digest import digest_of
from airgapbuild.pins import read_pinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.source import Source
    from airgapbuild.progress import Progress

_MAX_INVENTORY = 64 << 20


def read_baseline(
    paths: Sequence[Path], source: Source, *, raw: bool, progress: Progress
) -> Baseline | None:
    """What a receiver holds of whom all of `paths` are true; None where there are none.

    `raw` tells whether a lock is taken to have arrived with its layers raw, as a compact bundle.

    Raises:
        UsageError: there is nothing of this name.
        BundleError, IntegrityError, LockError: one of them cannot be read.
        RegistryError: the documents of a lock cannot be had.
    """
    whole: Baseline | None = None
    for path in paths:
        found = _read(path, source, progress, raw=raw)
        whole = whole | found if whole else found
    return whole


def _read(path: Path, source: Source, progress: Progress, *, raw: bool) -> Baseline:
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _of_bundle(path, progress)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_INVENTORY)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    if content.lstrip().startswith(b"{"):
        return _of_inventory(content, str(path))
    lock = parse_lock(content, str(path))
    pins = [(image, locked) for image in lock.image for locked in image.platform]
    return _of_images(lock, ((*pin, read_pinned(source, *pin)) for pin in pins), raw=raw)


def _of_inventory(content: bytes, what: str) -> Baseline:
    inventory = parse_inventory(content, what)
    chains = (tuple(HeldLayer(diff_id, None) for diff_id in chain) for chain in inventory.images)
    return Baseline(
        bases=frozenset({Base(digest=digest_of(content))}),
        chains=frozenset((inventory.platform, chain) for chain in chains),
        blobs=frozenset(blob.digest for blob in inventory.blobs),
    )


def _of_bundle(folder: Path, progress: Progress) -> Baseline:
    bundle = open_bundle(folder)

    def images() -> Iterator[tuple[LockedImage, LockedPlatform, PlatformImage]]:
        for image in bundle.lock.image:
            for locked in image.platform:
                if bundle.has(image, locked):
                    yield image, locked, bundle.image(image, locked)
                else:
                    what = f"{image.name} {locked.platform}"
                    progress.note(f"{folder}: no tarball of {what} is here: nothing to leave out")

    return _of_images(bundle.lock, images(), raw=False)


def _of_images(
    lock: Lock,
    images: Iterable[tuple[LockedImage, LockedPlatform, PlatformImage]],
    *,
    raw: bool,
) -> Baseline:
    chains, blobs = set(), set()
    for image, locked, documents in images:
        diff_ids = documents.parsed_config.diff_ids
        if image.for_daemon:
            pairs = zip(diff_ids, documents.layers, strict=False)
            chain = (HeldLayer(diff_id, diff_id if raw else it.digest) for diff_id, it in pairs)
            chains.add((locked.platform, tuple(chain)))
        else:
            blobs |= {blob.digest for blob in documents.blobs}
            blobs |= set(diff_ids) if raw else set()
    base = Base(name=lock.name, digest=digest_of(render_lock(lock)))
    return Baseline(frozenset({base}), frozenset(chains), frozenset(blobs))
