"""Lock → a source policy for BuildKit: what the lock pins, and nothing else.

Each name of the lock is converted to its digest, at the registry that the site has. BuildKit
evaluates what a conversion has made once more, and of several rules that deny or allow, the last
one counts: so everything is denied first, and what conversions make is allowed after it.

Source: moby/buildkit sourcepolicy/engine.go (`Evaluate`), sourcepolicy/pb/policy.proto;
docker/buildx build/build.go (EXPERIMENTAL_BUILDKIT_SOURCE_POLICY).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.destination import parse_destination

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.destination import Destination
    from airgapbuild.lockfile import Lock, LockedImage
    from airgapbuild.oci.reference import Reference

VERSION: Final = 1
_SCHEME: Final = "docker-image://"


def source_policy(lock: Lock, place: Destination | None = None) -> dict[str, Any]:
    """The policy, as JSON has it.

    Images are taken from below `place`; without one, from the first mirror that [buildkitd] has
    for their registry, else from that itself. Where the builder is sealed, every other image is
    denied.
    """
    moved = dict(pair for image in lock.image for pair in _moved(lock, image, place))
    sealed = lock.builder is not None and lock.builder.sealed
    targets = dict.fromkeys(moved.values())
    return {
        "version": VERSION,
        "rules": [
            *([_rule("DENY", "*", "WILDCARD")] if sealed else []),
            *(_rule("ALLOW", str(target)) for target in targets if sealed),
            *(
                _rule("CONVERT", str(name)) | {"updates": {"identifier": f"{_SCHEME}{target}"}}
                for name, target in moved.items()
                if name != target
            ),
        ],
    }


def _moved(
    lock: Lock, image: LockedImage, place: Destination | None
) -> Iterator[tuple[Reference, Reference]]:
    """Each name by which a build may ask for the image, and what it gets for it."""
    for name in image.registry_names:
        pinned = name.with_digest(image.digest)
        there = place or _first_mirror(lock, name.registry)
        target = there.below(pinned) if there else pinned
        for asked in (name, replace(name, digest=image.digest), pinned):
            yield asked, target


def _first_mirror(lock: Lock, registry: str) -> Destination | None:
    entry = lock.buildkitd.registry.get(registry)
    return parse_destination(entry.mirrors[0]) if entry and entry.mirrors else None


def _rule(action: str, identifier: str, match_type: str = "EXACT") -> dict[str, Any]:
    selector = {"identifier": f"{_SCHEME}{identifier}", "match_type": match_type}
    return {"action": action, "selector": selector}
