"""Inventory, bundle or lock → what a receiver holds already.

A bundle or a lock stands for a receiver that has loaded it: its images for the daemon on its
platform, the others in its layout. A lock names manifests only; the documents below them are asked
for by digest.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING

from airgapbuild.bundle.baseline import Baseline, HeldLayer
from airgapbuild.bundle.index import Base
from airgapbuild.bundle.layers import raw as raw_layer
from airgapbuild.bundle.older import ReadableLayer
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.errors import BundleError
from airgapbuild.files import is_folder, must_exist
from airgapbuild.inventory import parse_inventory
from airgapbuild.lockfile import parse_lock, render_lock
from airgapbuild.oci.derived import most_raw
from airgapbuild.oci.digest import digest_of
from airgapbuild.pins import read_pinned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference
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
    must_exist(path)
    if is_folder(path):
        return _of_bundle(path, progress)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_INVENTORY)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    if content.removeprefix(BOM_UTF8).lstrip().startswith(b"{"):
        return _of_inventory(content, str(path))
    return _of_lock(parse_lock(content, str(path)), source, raw=raw)


def _of_inventory(content: bytes, what: str) -> Baseline:
    inventory = parse_inventory(content, what)
    chains = (tuple(HeldLayer(diff_id, None) for diff_id in chain) for chain in inventory.images)
    return Baseline(
        bases=frozenset({Base(digest=digest_of(content))}),
        chains=frozenset((inventory.platform, chain) for chain in chains),
        blobs=frozenset(blob.digest for blob in inventory.blobs),
    )


def _of_lock(lock: Lock, source: Source, *, raw: bool) -> Baseline:
    whole = Baseline(frozenset({_base(lock)}))
    for image in lock.image:
        for locked in image.platform:
            whole |= _of_image(image, locked, read_pinned(source, image, locked), source, raw=raw)
    return whole


def _of_bundle(folder: Path, progress: Progress) -> Baseline:
    bundle = open_bundle(folder)
    whole = Baseline(frozenset({_base(bundle.lock)}))
    for image in bundle.lock.image:
        for locked in image.platform:
            if bundle.has(image, locked):
                documents = bundle.image(image, locked)
                source = bundle.alone(image, locked)
                # A differential one lacks what its receiver held before, or tells it by that.
                whole |= _of_image(image, locked, documents, source, raw=False, tells=source.tells)
            else:
                what = f"{image.name} {locked.platform}"
                progress.note(f"{folder}: no tarball of {what} is here: nothing to leave out")
    return whole


def _base(lock: Lock) -> Base:
    return Base(name=lock.name, digest=digest_of(render_lock(lock)))


def _of_image(
    image: LockedImage,
    locked: LockedPlatform,
    documents: PlatformImage,
    source: Source,
    *,
    raw: bool,
    tells: Callable[[Digest], bool] = lambda _: True,
) -> Baseline:
    """What a receiver holds who has loaded a platform's image; `raw`: with its layers raw.

    `tells` says of a layer whether the source gives its content.
    """
    pairs = list(zip(documents.parsed_config.diff_ids, documents.layers, strict=False))
    chain = tuple(HeldLayer(diff_id, diff_id if raw else it.digest) for diff_id, it in pairs)
    older = tuple(
        _readable(diff_id, it, image.ref, source) if tells(it.digest) else None
        for diff_id, it in pairs
    )
    held = Baseline()
    if image.for_daemon:
        held |= Baseline(chains=frozenset({(locked.platform, chain)}))
    if image.for_layout:
        layers = {layer.blob for layer in chain if layer.blob}
        held |= Baseline(blobs=frozenset(blob.digest for blob in documents.blobs) | layers)
    # Compressed layers of a layout are not looked into there.
    if image.for_daemon or raw or documents.upstream:
        held |= Baseline(older={(image.name, locked.platform): older})
    return held


def _readable(
    diff_id: Digest, layer: Descriptor, reference: Reference, source: Source
) -> ReadableLayer:
    return ReadableLayer(
        diff_id,
        layer.size if layer.digest == diff_id else most_raw(layer),
        lambda: raw_layer(layer, source.blob(reference, layer)),
    )
