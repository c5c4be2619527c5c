"""Bundle + daemon → images, layout, builder.

The order is: prove the bundle, look at the daemon, send what it lacks, ask it what it holds now;
then fill the layout; then write the builder's files and start it. No step begins before the bytes
that it uses are proven.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.wanted import BUILDKITD_FILE, made_from, wanted_instance
from airgapbuild.files import write_if_changed
from airgapbuild.oci.derived import derived_index
from airgapbuild.older import OlderLayers
from airgapbuild.progress import SILENT, Progress
from airgapbuild.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airgapbuild.builder.instance import Instance, InstanceStore
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.layout import Layout


@dataclass(frozen=True)
class LoadedImage:
    """What happened to one image in one place."""

    image: LockedImage
    platforms: tuple[LockedPlatform, ...]
    """The platforms that are there now: the daemon's own, or those of the layout."""
    place: str
    """`daemon` or `layout`."""
    id: Digest
    """What it is known by there: the config's digest in a classic store, else that of the index or
    manifest."""
    action: str
    """`present` (nothing to do), `named` (only names were missing) or `loaded`."""
    sent: int
    """Bytes that went to the daemon or into the layout."""


@dataclass(frozen=True)
class LoadedBuilder:
    """What happened to the builder."""

    instance: Instance
    buildkitd: Path
    """The buildkitd.toml that the builder has, as a file."""
    changed: bool
    """Whether its files had to be written, or its container made anew."""
    buildx: str | None = None
    """The version of the buildx that started it; None where it was not to be started."""
    buildkit: str | None = None
    """The version of the BuildKit that answered."""


def load_images(
    bundle: Bundle,
    daemon: Daemon,
    layout: Layout,
    *,
    bases: Sequence[Bundle] = (),
    scratch: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[LoadedImage, ...]:
    """The bundle's images, where they are wanted: one that goes to two places is there twice.

    Tarballs of other platforms than the daemon's may be missing from the folder; what is there must
    be right. What a differential bundle leaves out may lie in one of `bases`; their other images
    are not loaded. Older layers by which it tells its own are laid out in files without a name in
    `scratch`, or in the layout's folder.

    Raises:
        IntegrityError, BundleError: a bundle is not whole or not right; nothing was sent of the
            image that it concerns. What a differential bundle leaves out is nowhere; nothing was
            sent of any image.
        DaemonError: the daemon did not take an image, or holds another one afterwards.
    """
    for each in (*bases, bundle):
        each.check_files(progress=progress)
    older = OlderLayers([], daemon, layout, scratch or layout.path)
    older.bases = [replace(base, older=older.find) for base in bases]
    supply = Supply(replace(bundle, older=older.find), tuple(older.bases))
    supply.check(daemon, layout)
    loaded = []
    for image in bundle.lock.image:
        if image.for_daemon:
            loaded.append(_to_daemon(supply, daemon, image, progress))
        if image.for_layout:
            loaded.append(_to_layout(supply, layout, image, progress))
    return tuple(loaded)


def _to_daemon(
    supply: Supply, daemon: Daemon, image: LockedImage, progress: Progress
) -> LoadedImage:
    bundle, locked = supply.bundle, supply.platform(image, daemon)
    documents = bundle.image(image, locked)
    if not daemon.holds(documents, image.names):
        documents = bundle.check_image(image, locked)
    task = progress.task(image.name)
    read = supply.reader(image, locked)
    absent = frozenset(blob.digest for blob in supply.absent(image, locked))
    outcome = daemon.load(documents, image.names, read, task, absent)
    task.done(outcome.action)
    identifier = daemon.expected_id(documents)
    return LoadedImage(image, (locked,), "daemon", identifier, outcome.action, outcome.sent)


def _to_layout(
    supply: Supply, layout: Layout, image: LockedImage, progress: Progress
) -> LoadedImage:
    bundle, platforms = supply.bundle, supply.platforms(image)
    found = {locked: bundle.image(image, locked) for locked in platforms}
    missing: dict[LockedPlatform, tuple[Descriptor, ...]] = {}
    known: set[Digest] = set()
    for locked, documents in found.items():
        blobs = (*(document.descriptor for document in documents.documents), *documents.blobs)
        new = [blob for blob in blobs if blob.digest not in known]
        missing[locked] = tuple(blob for blob in new if not layout.holds(blob))
        known |= {blob.digest for blob in new}
        if missing[locked]:
            bundle.check_image(image, locked)
    sent = sum(blob.size for blobs in missing.values() for blob in blobs)
    task = progress.task(image.name, sent)
    for locked, blobs in missing.items():
        read = supply.reader(image, locked)
        for blob in blobs:
            layout.put(blob, read(blob))
            task.advance(blob.size)
    top = _top(bundle, layout, image, found)
    named = layout.name(top, tuple(str(name) for name in image.names))
    action = "loaded" if sent else "named" if named else "present"
    task.done(action)
    return LoadedImage(image, platforms, "layout", top.digest, action, sent)


def _top(
    bundle: Bundle,
    layout: Layout,
    image: LockedImage,
    found: dict[LockedPlatform, PlatformImage],
) -> Descriptor:
    """What the layout knows the image by; written into it, where it is an index of our own."""
    if bundle.index.layers is None:
        return image.top
    top = derived_index([(locked.platform, documents) for locked, documents in found.items()])
    if not layout.holds(top.descriptor):
        layout.put(top.descriptor, iter([top.raw]))
    return top.descriptor


def load_builder(
    lock: Lock,
    daemon: Daemon,
    store: InstanceStore,
    config_folder: Path,
    *,
    progress: Progress = SILENT,
) -> LoadedBuilder | None:
    """The lock's builder as buildx knows it, current for this daemon; None where there is none.

    A container that was made from another image or other settings is removed (its cache volume
    stays), since buildx would go on using it: the next start makes it anew.

    Raises:
        BuilderError: the name is taken by something else, or the files cannot be written.
    """
    instance = wanted_instance(lock, daemon.endpoint.buildx_endpoint)
    image = lock.builder_image
    if instance is None or image is None:
        return None
    changed = store.write(instance)
    container = daemon.container(instance.container)
    held = daemon.image(str(image.builder_name))
    if container and not (
        held and container.image == held.id and made_from(instance, container.environment)
    ):
        progress.detail(f"{instance.container}: made from something else, removed")
        daemon.remove_container(container.id)  # not the one that another job makes meanwhile
        changed = True
    changed |= store.make_current(instance, daemon.endpoint.buildx_key)
    buildkitd = config_folder / instance.name / BUILDKITD_FILE
    changed |= write_if_changed(buildkitd, instance.files[BUILDKITD_FILE])
    return LoadedBuilder(instance, buildkitd, changed)


def boot(
    builder: LoadedBuilder, environ: Mapping[str, str], *, progress: Progress = SILENT
) -> LoadedBuilder:
    """The same builder, running, with the versions that answered.

    Raises:
        BuilderError: buildx is missing, or the builder does not come up.
    """
    buildx = Buildx.find(environ)
    task = progress.task(f"boot {builder.instance.name}")
    buildkit = buildx.boot(builder.instance.name, environ, progress.detail)
    task.done(f"BuildKit {buildkit}")
    return replace(builder, buildx=buildx.version, buildkit=buildkit)
