"""Lock + source → what has moved on since: newer versions, moved tags, pins that are gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import AirgapbuildError, RegistryError
from airgapbuild.progress import SILENT, Progress
from airgapbuild.threads import pool
from airgapbuild.versions import newer, parse_version

if TYPE_CHECKING:
    from airgapbuild.lockfile import Lock, LockedImage
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.oci.source import TaggedSource

_WORKERS: Final = 8
_NOT_FOUND = 404
_LISTS_NONE: Final = frozenset({404, 405})


@dataclass(frozen=True)
class Standing:
    """How one image of a lock stands today."""

    image: LockedImage
    tagged: Digest | None = None
    """What its tag points at; None where it has none, the tag is gone, or there was an error."""
    served: bool | None = None
    """Whether the registry still has the pin; None after an error."""
    newer: tuple[str, ...] | None = None
    """The tags of newer versions, oldest first; None where the registry lists no tags."""
    error: AirgapbuildError | None = None
    """Why nothing is known."""

    @property
    def moved(self) -> bool:
        """Whether the tag points at something else than the pin."""
        return self.tagged is not None and self.tagged != self.image.digest

    @property
    def untagged(self) -> bool:
        """Whether the tag is gone."""
        return self.error is None and self.image.ref.tag is not None and self.tagged is None


def outdated(
    lock: Lock, source: TaggedSource, *, progress: Progress = SILENT
) -> tuple[Standing, ...]:
    """How each image of a lock that lies in a registry stands, in the lock's order.

    An error of one image is in its standing.
    """

    def standing(image: LockedImage) -> Standing:
        task = progress.task(f"{image.name}  {image.ref.familiar}")
        try:
            found = _standing(image, source)
        except AirgapbuildError as error:
            return Standing(image, error=error)
        task.done("asked")
        return found

    with pool(_WORKERS, "outdated") as threads:
        images = (image for image in lock.image if image.ref.transport == "registry")
        return tuple(threads.map(standing, images))


def _standing(image: LockedImage, source: TaggedSource) -> Standing:
    ref = image.ref
    tagged = _digest_at(ref.with_tag(ref.tag), source) if ref.tag else None
    pinned = image.digest
    # The tag at the pin says that the pin is served: one request for most images.
    served = tagged == pinned or _digest_at(ref.with_digest(pinned), source) is not None
    return Standing(image, tagged, served, _newer(ref, source))


def _digest_at(reference: Reference, source: TaggedSource) -> Digest | None:
    """The digest of what is at this tag or digest; None if nothing is."""
    try:
        return source.manifest(reference).descriptor.digest
    except RegistryError as error:
        if error.status != _NOT_FOUND:
            raise
        return None


def _newer(ref: Reference, source: TaggedSource) -> tuple[str, ...] | None:
    if ref.tag is None or parse_version(ref.tag) is None:
        return ()
    try:
        tags = source.tags(ref)
    except RegistryError as error:
        if error.status not in _LISTS_NONE:
            raise
        return None
    return newer(ref.tag, tags)
