"""What is ours in a daemon and that nothing needs any more: images, and nodes of a builder.

Ours is what `load` put there, by a record of its own: the daemon does not tell who brought an
image. A name below `127.0.0.1:1/airgapbuild/` tells it as well, since nobody else gives such names;
so builder images are known even where the record is another user's.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.builder.wanted import made_from
from airgapbuild.errors import AirgapbuildError
from airgapbuild.files import reaching
from airgapbuild.local_name import is_local, local_name
from airgapbuild.oci.digest import digest_of, encoded, parse_digest, short

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from airgapbuild.builder.instance import Node
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference


class Record:
    """What was loaded into one daemon: an empty file for each image, DAEMON-IMAGE.

    So parallel jobs need no lock, and nothing can be half-written.
    """

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        self._folder = folder
        self._daemon = daemon
        self._prefix = f"{short(digest_of(daemon.id.encode()))}-"

    @property
    def images(self) -> tuple[Digest, ...]:
        """The IDs of the images."""
        names = sorted(path.name for path in self._folder.glob(f"{self._prefix}*"))
        found = []
        for name in names:
            with suppress(ValueError):
                found.append(parse_digest(f"sha256:{name.removeprefix(self._prefix)}"))
        return tuple(found)

    @contextmanager
    def watching(self, lock: Lock) -> Iterator[None]:
        """Enters the images of the lock that were not in the daemon before, and are afterwards.

        So does a load that fails with what it had done until then.

        Raises:
            UsageError: the record's folder cannot be written.
            DaemonError: the daemon does not say.
        """
        before = self._daemon.images()
        try:
            yield
        except AirgapbuildError:
            with suppress(AirgapbuildError):
                self._enter(lock, before)
            raise
        self._enter(lock, before)

    def sweep(self, keep: Collection[Digest] = ()) -> tuple[Digest, ...]:
        """Removes the images that have no name any more; the IDs of those that went.

        What a container uses stays, and is looked at again the next time; so are the images in
        `keep`.

        Raises:
            DaemonError: the daemon does not say, or refuses.
        """
        gone = []
        for image in self.images:
            held = self._daemon.image(image)
            if held is None:
                self._drop(image)
            elif held.names or held.repo_digests or image in keep:
                continue
            elif self._daemon.remove_image(image):
                self._drop(image)
                gone.append(image)
        return tuple(gone)

    def _enter(self, lock: Lock, before: Mapping[Digest, Collection[Reference]]) -> None:
        """With the images that were there before, and their names."""
        names = {name: image for image, its in before.items() for name in its}
        now = self._daemon.names()
        for image in lock.image:
            new = {now[name] for name in image.names if name in now} - before.keys()
            if image.is_builder and names.get(image.builder_name) != now.get(image.builder_name):
                # Nobody else gives that name: who had it was loaded by us, too.
                new |= {names[it] for it in (image.builder_name,) if it in names}
            for identifier in sorted(new):
                self._add(identifier)

    def _add(self, image: Digest) -> None:
        with reaching(self._folder, "XDG_DATA_HOME names another folder"):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path(image).touch()

    def _drop(self, image: Digest) -> None:
        with suppress(OSError):  # it is found to be gone again the next time
            self._path(image).unlink(missing_ok=True)

    def _path(self, image: Digest) -> Path:
        return self._folder / f"{self._prefix}{encoded(image)}"


@dataclass(frozen=True)
class OlderBuilder:
    """A builder image of ours that the lock does not name."""

    id: Digest
    names: tuple[Reference, ...]
    """The names that it had from us."""
    users: tuple[str, ...]
    """The containers that use it, for which it stays."""


def remove_node(node: Node, daemon: Daemon) -> bool:
    """Removes a node's container and its cache; whether there was one that was made from the node.

    Raises:
        DaemonError: the daemon does not say, or refuses.
    """
    container = daemon.container(node.container)
    if container is None or not made_from(node, container.environment):
        return False
    daemon.remove_container(container.id)
    daemon.remove_volume(node.cache)
    return True


def prune_builders(lock: Lock, daemon: Daemon) -> tuple[OlderBuilder, ...]:
    """Removes builder images of ours that the lock does not name, under the names from us.

    Those are the local one, and the one that it goes with, of the same tag, if that lies in a
    repository of which the lock has a builder image. Any other name may be somebody else's, and
    what the lock names is wanted: for their sake the image stays. An image that a container uses
    stays with all its names.

    Raises:
        DaemonError: the daemon does not say, or refuses.
    """
    builders = [image for image in lock.image if image.is_builder]
    repositories = {name.name for image in builders for name in image.tagged}
    named = {name for image in lock.image for name in image.names}
    names = daemon.names()
    ours = {name: image for name, image in names.items() if is_local(name) and name not in named}
    needed = {names[it.builder_name] for it in builders if it.builder_name in names}
    found = []
    for image in sorted(set(ours.values()) - needed):
        local = {name for name in ours if ours[name] == image}
        given = sorted(
            name
            for name in names.keys() - named
            if names[name] == image
            and (name in local or (name.name in repositories and _local(name) in local))
        )
        older = OlderBuilder(image, tuple(given), daemon.users(image))
        if not older.users:
            for name in given:
                daemon.remove_image(str(name))
        found.append(older)
    return tuple(found)


def _local(name: Reference) -> Reference | None:
    return local_name(name, name.tag) if name.tag else None
