"""Floating tag + source → the version that it stands for today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.errors import RegistryError
from airgapbuild.versions import candidates, is_floating

if TYPE_CHECKING:
    from airgapbuild.lockfile import LockedImage
    from airgapbuild.oci.source import TaggedSource


def floats(image: LockedImage) -> bool:
    """Whether an image was pinned by a tag that is made to move, and by nothing else."""
    ref = image.ref
    return ref.digest is None and ref.tag is not None and is_floating(ref.tag)


def versioned(image: LockedImage, source: TaggedSource) -> str | None:
    """The versioned tag that points at the pin of a floating one.

    None where there is none among the likeliest few, or the registry does not tell: it is advice,
    and nothing depends on it.

    Raises:
        IntegrityError: a manifest is not of its digest.
    """
    try:
        for tag in candidates(image.ref.tag or "", source.tags(image.ref)):
            if source.manifest(image.ref.with_tag(tag)).descriptor.digest == image.digest:
                return tag
    except RegistryError:
        pass
    return None
