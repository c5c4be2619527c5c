"""Lock + daemon → what `load` did, taken back.

Whatever is another now than `load` left it is somebody else's: it is left alone, and told. Blobs of
the layout stay until nobody names them; the builder's cache stays unless it is asked for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.builder.buildkitd import BUILDKITD_FILE
from airgapbuild.builder.wanted import made_from
from airgapbuild.errors import BuilderError
from airgapbuild.oci.content import INDEX_TYPES, parse_index
from airgapbuild.oci.derived import derived_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from airgapbuild.builder.instance import Instance, InstanceStore, Node
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.leftovers import Record
    from airgapbuild.lockfile import Lock, LockedImage
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout

_CHANGED = "was changed since"


@dataclass(frozen=True)
class Undone:
    """Something that `load` had made."""

    what: str
    """`container`, `cache`, `builder`, `buildkitd.toml`, `daemon` or `layout`: a name there."""
    name: str
    kept: str | None = None
    """Why it is still there; None where it was taken away."""


def unload_builder(
    instance: Instance,
    nodes: Sequence[Daemon],
    store: InstanceStore,
    config_folder: Path,
    *,
    cache: bool = False,
) -> tuple[Undone, ...]:
    """What there was of a builder: its containers, their cache where it is to go, and its files.

    `nodes` are the daemons that it runs on, as `BuilderEntry.endpoints` has them.

    Raises:
        BuilderError, DaemonError: a folder or a daemon cannot be read, or refuses.
    """
    return (
        *(
            undone
            for node, daemon in zip(instance.nodes, nodes, strict=False)
            for undone in _container(node, daemon, cache=cache)
        ),
        *_instance(instance, store),
        *_buildkitd(instance, config_folder),
    )


def unload_images(
    images: Iterable[LockedImage], daemon: Daemon, record: Record, bundle: Bundle | None = None
) -> tuple[Undone, ...]:
    """The names of images in a daemon, where they are still those of what was locked.

    In a containerd store the images of a compact bundle have IDs that only the bundle tells.

    Raises:
        BundleError, IntegrityError: the bundle cannot be read.
        DaemonError: the daemon does not say, or refuses.
    """
    undone = [
        Undone("daemon", name, kept)
        for image in images
        if image.for_daemon
        for name, kept in _names(image, daemon, _ids(image, daemon, bundle))
    ]
    record.sweep()
    return tuple(undone)


def unload_layout(lock: Lock, layout: Layout) -> tuple[Undone, ...]:
    """The lock's names in the layout, where they are still those of the images that were locked.

    Raises:
        BundleError: the layout's index.json is not one.
    """
    held = layout.images()
    wanted = [
        (name, image.digest)
        for image in lock.image
        if image.for_layout
        for name in image.layout_names
    ]
    found = [(name, _is_of(layout, held[name], top)) for name, top in wanted if name in held]
    if ours := {str(name): held[name] for name, is_same in found if is_same}:
        with layout.filling():
            layout.unname(ours)
    return tuple(
        Undone("layout", str(name), None if is_same else _another(held[name]))
        for name, is_same in found
    )


def _container(node: Node, daemon: Daemon, *, cache: bool) -> Iterator[Undone]:
    container = daemon.container(node.container)
    is_ours = container is None or made_from(node, container.environment)
    if container:
        if is_ours:
            daemon.remove_container(container.id)
        yield Undone("container", node.container, None if is_ours else _CHANGED)
    if cache and is_ours and daemon.remove_volume(node.cache):
        yield Undone("cache", node.cache)


def _instance(instance: Instance, store: InstanceStore) -> Iterator[Undone]:
    if store.read(instance.name):
        yield Undone("builder", instance.name, None if store.remove(instance) else _CHANGED)


def _buildkitd(instance: Instance, config_folder: Path) -> Iterator[Undone]:
    path = config_folder / instance.name / BUILDKITD_FILE
    try:
        is_ours = path.read_bytes() == instance.nodes[0].files.get(BUILDKITD_FILE)
        if is_ours:
            path.unlink()
            with suppress(OSError):  # something else lies there
                path.parent.rmdir()
        yield Undone(BUILDKITD_FILE, str(path), None if is_ours else _CHANGED)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BuilderError(f"{path}: {error.strerror}") from error


def _ids(image: LockedImage, daemon: Daemon, bundle: Bundle | None) -> set[Digest]:
    """The IDs that the image may have in the daemon; none where it has no place there."""
    locked = image.on(daemon.platform)
    if locked is None:
        return set()
    if daemon.store == "classic":
        return {locked.config}
    if bundle and bundle.index.layers and bundle.has(image, locked):
        return {image.digest, daemon.expected_id(bundle.image(image, locked))}
    return {image.digest}


def _names(
    image: LockedImage, daemon: Daemon, ids: set[Digest]
) -> Iterator[tuple[str, str | None]]:
    """Each name that is there, and why it stays; an image without names by its ID."""
    for name in map(str, image.names or sorted(ids)):
        held = daemon.image(name)
        if held is None or (held.names and not image.names):
            continue
        users = daemon.users(held.id)
        if held.id not in ids:
            yield name, _another(held.id)
        elif users or not daemon.remove_image(name):
            yield name, f"is used by {', '.join(users) or 'a container'}"
        else:
            yield name, None


def _another(held: Digest) -> str:
    return f"is {held[:19]} now, which is not what was locked"


def _is_of(layout: Layout, held: Digest, top: Digest) -> bool:
    """Whether what the layout holds is what was locked, or was derived from it."""
    document = layout.document(held)
    if held == top or document is None:
        return held == top
    parts = [document]
    if document.descriptor.media_type in INDEX_TYPES:
        entries = parse_index(document, f"index {held}").platforms
        parts = [part for _, it in entries if (part := layout.document(it.digest))]
    return bool(parts) and all(derived_from(part) == top for part in parts)
