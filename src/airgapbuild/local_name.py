"""The name by which buildx starts a builder's image in a daemon.

Nothing listens at its registry: the pull that buildx always tries first is refused at once, and the
image that was loaded is used (see CONTRIBUTING). Nobody else gives such names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airgapbuild.oci.digest import short
from airgapbuild.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airgapbuild.oci.digest import Digest

LOCAL_REGISTRY: Final = "127.0.0.1:1"

_FOLDER = "airgapbuild/"


def local_name(name: Reference, tag: str) -> Reference:
    """The local name that goes with a name: the same repository, whatever its registry."""
    return Reference(LOCAL_REGISTRY, _FOLDER + name.repository, tag)


def digest_tag(digest: Digest) -> str:
    """The version of an image that has no tag: the digest's first digits."""
    return f"sha256-{short(digest)}"


def named_by(ref: Reference, tags: Iterable[Reference]) -> Reference:
    """Which of an image's names its local name goes with: that of a layout has only its tags."""
    return ref if ref.registry else min(tags, key=str)


def is_local(name: Reference) -> bool:
    """Whether it is such a name."""
    return name.registry == LOCAL_REGISTRY and name.repository.startswith(_FOLDER)
