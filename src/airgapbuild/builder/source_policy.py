"""A source policy for BuildKit: what a lock pins, and nothing else.

Each name of the lock is converted to its digest, at the registry that the site has. BuildKit
evaluates what a conversion has made once more, and of several rules that deny or allow, the last
one counts: so everything is denied first, and what conversions make is allowed after it.

Source: moby/buildkit sourcepolicy/engine.go (`Evaluate`), sourcepolicy/pb/policy.proto;
docker/buildx build/build.go (EXPERIMENTAL_BUILDKIT_SOURCE_POLICY).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.lockfile import Lock, LockedImage
    from airgapbuild.oci.reference import Reference

VERSION: Final = 1
_SCHEME: Final = "docker-image://"


def source_policy(lock: Lock, registry: str | None = None) -> dict[str, Any]:
    """The policy, as JSON has it.

    Images are taken from `registry`, which is a host or a part of one (`host:5000/hub`); without
    one, from the first mirror that [buildkitd] has for theirs, else from their own. Where the
    builder is sealed, every other image is denied.
    """
    moved = dict(pair for image in lock.image for pair in _moved(lock, image, registry))
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
    lock: Lock, image: LockedImage, registry: str | None
) -> Iterator[tuple[Reference, Reference]]:
    """Each name by which a build may ask for the image, and what it gets for it."""
    names = [it for it in image.names if it != image.builder_name] or [image.ref]
    for name in names:
        pinned = name.with_digest(image.digest)
        target = _at(lock, pinned, registry)
        for asked in (name, replace(name, digest=image.digest), pinned):
            yield asked, target


def _at(lock: Lock, pinned: Reference, registry: str | None) -> Reference:
    """The same repository where the site has it."""
    entry = lock.buildkitd.registry.get(pinned.registry)
    place = registry or (entry.mirrors[0] if entry and entry.mirrors else pinned.registry)
    host, _, path = place.partition("/")
    repository = f"{path}/{pinned.repository}" if path else pinned.repository
    return replace(pinned, registry=host, repository=repository)


def _rule(action: str, identifier: str, match_type: str = "EXACT") -> dict[str, Any]:
    selector = {"identifier": f"{_SCHEME}{identifier}", "match_type": match_type}
    return {"action": action, "selector": selector}
