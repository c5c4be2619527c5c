"""Bundle + daemon → images, layout, builder.

The order is: prove the bundle, look at the daemon, send what it lacks, ask it what it holds now;
then fill the layout; then write the builder's files and start it. No step begins before the bytes
that it uses are proven.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from airgapbuild.builder.buildx import Buildx
from airgapbuild.builder.wanted import BUILDKITD_FILE, made_from, wanted_instance
from airgapbuild.errors import BundleError
from airgapbuild.files import write_if_changed
from airgapbuild.oci.derived import derived_index
from airgapbuild.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from airgapbuild.builder.instance import Instance, InstanceStore
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon, LoadOutcome
    from airgapbuild.lockfile import Lock, LockedImage, LockedPlatform
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.layout import Layout

DAEMON_ROLES: Final = frozenset({"builder", "binfmt", "tool"})
"""Images of these roles go to the daemon, the others to the layout."""


@dataclass(frozen=True)
class LoadedImage:
    """What happened to one image."""

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
    bundle: Bundle, daemon: Daemon, layout: Layout, *, progress: Progress = SILENT
) -> tuple[LoadedImage, ...]:
    """The bundle's images, where their roles want them.

    Tarballs of other platforms than the daemon's may be missing from the folder; what is there must
    be right.

    Raises:
        IntegrityError, BundleError: the bundle is not whole or not right; nothing was sent of the
            image that it concerns.
        DaemonError: the daemon did not take an image, or holds another one afterwards.
    """
    bundle.check_files(progress=progress)
    return tuple(
        _to_daemon(bundle, daemon, image, progress)
        if image.role in DAEMON_ROLES
        else _to_layout(bundle, layout, image, progress)
        for image in bundle.lock.image
    )


def _to_daemon(
    bundle: Bundle, daemon: Daemon, image: LockedImage, progress: Progress
) -> LoadedImage:
    locked = image.on(daemon.platform)
    if locked is None:
        has = ", ".join(str(entry.platform) for entry in image.platform)
        raise BundleError(
            f"{image.name}: the bundle has it for {has}; this daemon is {daemon.platform}",
            hint="add the platform to airgapbuild.toml, then lock and export again",
        )
    documents = bundle.image(image, locked)
    if not daemon.holds(documents, image.names):
        documents = bundle.check_image(image, locked)
    outcome = _send(bundle.alone(image, locked), daemon, image, documents, progress)
    identifier = daemon.expected_id(documents)
    return LoadedImage(image, (locked,), "daemon", identifier, outcome.action, outcome.sent)


def _send(
    bundle: Bundle, daemon: Daemon, image: LockedImage, documents: PlatformImage, progress: Progress
) -> LoadOutcome:
    task = progress.task(image.name)

    def read(descriptor: Descriptor) -> Iterator[bytes]:
        return bundle.blob(image.ref, descriptor)

    outcome = daemon.load(documents, image.names, read, task)
    task.done(outcome.action)
    return outcome


def _to_layout(
    bundle: Bundle, layout: Layout, image: LockedImage, progress: Progress
) -> LoadedImage:
    platforms = tuple(locked for locked in image.platform if bundle.has(image, locked))
    if not platforms:
        raise BundleError(
            f"{bundle.folder}: no tarball of {image.name} is here", hint="bring one over, too"
        )
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
        tarball = bundle.alone(image, locked)
        for blob in blobs:
            layout.put(blob, tarball.blob(image.ref, blob))
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
        daemon.remove_container(instance.container)
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
