"""What a load reads from: the bundle, and the bundles that have what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from airgapbuild.errors import BundleError
from airgapbuild.oci.content import Descriptor
from airgapbuild.older import OlderLayers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from airgapbuild.bundle.index import RequiredBlob
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.lockfile import LockedImage, LockedPlatform
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout

    Read: TypeAlias = Callable[[Descriptor], Iterator[bytes]]

_SHOWN = 3


@dataclass(frozen=True)
class Supply:
    """The bundle that is loaded, and those that it builds on."""

    bundle: Bundle
    bases: tuple[Bundle, ...] = ()

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        bases: Iterable[Bundle],
        scratch: Path,
        *,
        daemon: Daemon | None = None,
        layout: Layout | None = None,
    ) -> Supply:
        """The supply of a bundle some of whose layers are told by older ones.

        Those are looked for in its bases, and in the layout and the daemon where there are such,
        and laid out in files without a name in `scratch`.
        """
        older = OlderLayers([], daemon, layout, scratch)
        older.bases = [replace(base, older=older.find) for base in bases]
        return cls(replace(bundle, older=older.find), tuple(older.bases))

    def check(self, daemon: Daemon, layout: Layout) -> None:
        """Returns only if all that the bundle leaves out is in a base, or where its image goes.

        Raises:
            BundleError: it is not; one line for each image.
            DaemonError: the daemon does not say.
        """
        lines = [
            line
            for image in self.bundle.lock.image
            for line in (
                *(self._missing_in_daemon(image, daemon) if image.for_daemon else ()),
                *(self._missing_in_layout(image, layout) if image.for_layout else ()),
            )
        ]
        if lines:
            raise BundleError(*lines, hint=self.remedy("load BASE {}"))

    def check_layout(self, images: Iterable[LockedImage], layout: Layout, command: str) -> None:
        """The same for images that all go to the layout; `command` as for `remedy`.

        Raises:
            BundleError: see `check`.
        """
        if lines := [it for image in images for it in self._missing_in_layout(image, layout)]:
            raise BundleError(*lines, hint=self.remedy(command))

    def check_node(self, image: LockedImage, daemon: Daemon) -> None:
        """The same for one image and another daemon.

        Raises:
            BundleError, DaemonError: see `check`.
        """
        where = f"the daemon at {daemon.endpoint.host}"
        if lines := list(self._missing_in_daemon(image, daemon, where)):
            raise BundleError(*lines, hint=self.remedy("load BASE {}"))

    def platform(self, image: LockedImage, daemon: Daemon) -> LockedPlatform:
        """What of an image is for this daemon.

        Raises:
            BundleError: nothing is.
        """
        locked = image.on(daemon.platform)
        if locked is None:
            has = ", ".join(str(entry.platform) for entry in image.platform)
            raise BundleError(
                f"{image.name}: the bundle has it for {has}; this daemon is {daemon.platform}",
                hint="add the platform to airgapbuild.toml, then lock and export again",
            )
        return locked

    def platforms(self, image: LockedImage) -> tuple[LockedPlatform, ...]:
        """What of an image is here.

        Raises:
            BundleError: nothing is.
        """
        found = tuple(locked for locked in image.platform if self.bundle.has(image, locked))
        if not found:
            raise BundleError(
                f"{self.bundle.folder}: no tarball of {image.name} is here",
                hint="bring one over, too",
            )
        return found

    def reader(self, image: LockedImage, locked: LockedPlatform) -> Read:
        """Reads a platform's blobs, verified, from its tarball, another one, or a base."""
        tarball = self.bundle.alone(image, locked)
        places = (tarball, self.bundle, *self.bases)

        def read(blob: Descriptor) -> Iterator[bytes]:
            holder = next((it for it in places if it.holds(blob.digest)), tarball)
            return holder.blob(image.ref, blob)

        return read

    def absent(self, image: LockedImage, locked: LockedPlatform) -> list[RequiredBlob]:
        """What a platform's image needs and no bundle here has."""
        return [
            blob
            for blob in self.bundle.requires(image, locked)
            if not any(base.holds(blob.digest) for base in self.bases)
        ]

    def nowhere(self, image: LockedImage, locked: LockedPlatform) -> list[Digest]:
        """The older layers that a platform's tarball wants and that are not at hand."""
        references = self.bundle.references(image, locked)
        return [blob.digest for blob in references if self.bundle.older(blob) is None]

    def remedy(self, command: str) -> str:
        """What brings what is missing; `command` has braces for the bundle's folder."""
        bases = [
            f"the bundle '{base.name}' (airgapbuild.lock {base.digest})"
            for base in self.bundle.index.against
            if base.name
        ]
        what = " and ".join(bases) or "a bundle that has it"
        return (
            f"bring {what}, too: airgapbuild {command.format(self.bundle.folder)}; "
            "or export again with the --against that holds here"
        )

    def _missing_in_daemon(
        self, image: LockedImage, daemon: Daemon, where: str = "the daemon"
    ) -> Iterator[str]:
        locked = self.platform(image, daemon)
        documents = self.bundle.image(image, locked)
        absent = self.absent(image, locked)
        references = self.bundle.references(image, locked)
        if (absent or references) and not daemon.holds(documents):
            held = daemon.held_layers(documents, surely=True) if absent else frozenset()
            missing = [blob.digest for blob in absent if blob.digest not in held]
            missing += self.nowhere(image, locked)
            yield from missing_line(image, locked, missing, where)

    def _missing_in_layout(self, image: LockedImage, layout: Layout) -> Iterator[str]:
        for locked in self.platforms(image):
            documents = self.bundle.image(image, locked)
            absent = self.absent(image, locked)
            missing = [it.digest for it in absent if not layout.holds(_descriptor(it))]
            references = self.bundle.references(image, locked)
            if references and not all(map(layout.holds, documents.layers)):
                missing += self.nowhere(image, locked)
            yield from missing_line(image, locked, missing, str(layout.path))


def missing_line(
    image: LockedImage, locked: LockedPlatform, missing: Iterable[Digest], where: str
) -> Iterator[str]:
    """What is missing, in a line; none where nothing is."""
    digests = list(missing)
    if digests:
        more = f" and {len(digests) - _SHOWN} more" if len(digests) > _SHOWN else ""
        yield (
            f"{image.name} {locked.platform}: neither the bundle nor {where} has "
            f"{', '.join(digests[:_SHOWN])}{more}"
        )


def _descriptor(blob: RequiredBlob) -> Descriptor:
    return Descriptor(media_type="", digest=blob.digest, size=blob.size)
