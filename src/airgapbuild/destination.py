"""Where in a registry the images of a bundle go, so that builders find them there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airgapbuild.errors import UsageError
from airgapbuild.oci.reference import Reference, parse_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airgapbuild.lockfile import Lock, LockedImage


@dataclass(frozen=True)
class Destination:
    """A registry, or a path in one."""

    registry: str
    path: str

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.registry}/{self.path}" if self.path else self.registry

    def below(self, name: Reference) -> Reference:
        """A name with the destination in place of its registry: where a mirror has it."""
        return replace(name, registry=self.registry, repository=_joined(self.path, name.repository))


def parse_destination(text: str) -> Destination:
    """The destination that `text` is: `host[:port][/path]`.

    Raises:
        UsageError: it is none.
    """
    try:
        registry, _, path = parse_prefix(text.removesuffix("/")).partition("/")
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Destination(registry, path)


def places(
    lock: Lock, destination: Destination, *, by_mirrors: bool
) -> Mapping[str, tuple[Reference, ...]]:
    """The references that each image gets, by the image's name in the lock.

    Below the destination each keeps its repository, as a mirror of its registry has it. With
    `by_mirrors` it goes where the lock's own builder looks for it: below the first mirror of its
    registry in `[buildkitd]` that is the destination or lies in it. An image of the destination's
    registry stays at its place then. One that has no tag is known by its digest alone.

    Raises:
        UsageError: no mirror is there for an image, or two images would take one name.

    Source: moby/buildkit util/resolver/resolver.go: a mirror's path goes before the repository.
    """
    found: dict[str, tuple[Reference, ...]] = {}
    owners: dict[Reference, LockedImage] = {}
    problems: list[str] = []
    lacking: dict[str, None] = {}
    for image in lock.image:
        names = image.registry_names
        put = [
            _mirrored(lock, destination, it) if by_mirrors else destination.below(it)
            for it in names
        ]
        problems += [
            f"{name.familiar}: no mirror of {name.registry} in [buildkitd] is at {destination}"
            for name, place in zip(names, put, strict=True)
            if place is None
        ]
        lacking |= {
            name.registry: None for name, place in zip(names, put, strict=True) if place is None
        }
        found[image.name] = tuple(dict.fromkeys(place for place in put if place))
        problems += [
            f"{place.familiar}: is the place of both {owner.name} and {image.name}"
            for place in found[image.name]
            if (owner := owners.setdefault(place, image)) is not image
        ]
    if problems:
        raise UsageError(*problems, hint=_hint(destination, lacking, by_mirrors=by_mirrors))
    return found


def _hint(destination: Destination, lacking: Iterable[str], *, by_mirrors: bool) -> str:
    if tables := ", ".join(f'[buildkitd.registry."{registry}"]' for registry in lacking):
        return f"push without --rewrite, or give {tables} a mirror at {destination}"
    paths = f"give their registries mirrors of different paths at {destination} in [buildkitd]"
    return paths if by_mirrors else f"{paths}, and push with --rewrite"


def _mirrored(lock: Lock, destination: Destination, name: Reference) -> Reference | None:
    entry = lock.buildkitd.registry.get(name.registry)
    for mirror in entry.mirrors if entry else ():
        if f"{mirror}/".startswith(f"{destination}/"):
            registry, _, path = mirror.partition("/")
            return Destination(registry, path).below(name)
    return name if name.registry == destination.registry else None


def _joined(*paths: str) -> str:
    return "/".join(path for path in paths if path)
