"""Where the files of registries lie in the builder's container.

As `docker buildx create` places them: `certs/<host>/<file>` in /etc/buildkit, where buildx itself
finds CAs and key pairs for `docker buildx imagetools`. Two files of one name get different ones.

Source: docker/buildx util/confutil/container.go, store/storeutil/storeutil.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from airgapbuild.buildkitd.certificates import file_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airgapbuild.buildkitd import LockedBuildkitd
    from airgapbuild.buildkitd.registries import LockedRegistry

CONFIG_FOLDER: Final = "/etc/buildkit"
"""Buildx's folder in the container; places are relative to it."""

_ODD = re.compile(r"[^a-zA-Z0-9.-]+", re.ASCII)


@dataclass(frozen=True)
class Placement:
    """The places of one registry's files."""

    ca: tuple[str, ...]
    """One for each file of CAs in the lock."""
    there: Mapping[str, str]
    """By the path on the isolated machine, of a file or a folder."""


def placements(buildkitd: LockedBuildkitd) -> dict[str, Placement]:
    """The places of the files of each registry that has some, by its host."""
    found = {host: _place(host, entry) for host, entry in buildkitd.registry.items()}
    return {host: place for host, place in found.items() if place.ca or place.there}


def _place(host: str, registry: LockedRegistry) -> Placement:
    folder = f"certs/{_ODD.sub('_', host)}"
    taken: set[str] = set()

    def free(name: str) -> str:
        path = PurePosixPath(name)
        names = (f"{path.stem}-{number}{path.suffix}" for number in range(2, len(taken) + 2))
        chosen = name if name not in taken else next(it for it in names if it not in taken)
        taken.add(chosen)
        return f"{folder}/{chosen}"

    ca = tuple(free(each.name) for each in registry.ca)
    pairs = (path for pair in registry.keypair for path in (pair.cert, pair.key))
    paths = dict.fromkeys((*pairs, *registry.tlsconfigdir))
    there = {path: free(file_name(PurePosixPath(path).name)) for path in paths}
    return Placement(ca, there)
