"""A lock's builder as plain settings, one a key, for people to read and compare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.lockfile import Lock


def settings(lock: Lock) -> dict[str, str]:
    """What the tables `builder` and `buildkitd` say, by dotted keys: `builder.sealed`.

    Defaults are left out, and so is a builder that nobody wants. Of a CA the name and the digest
    are told.
    """
    tables = lock.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include={"builder", "buildkitd"}
    )
    for host, registry in lock.buildkitd.registry.items():
        if registry.ca:
            tables["buildkitd"]["registry"][host]["ca"] = ", ".join(map(str, registry.ca))
    return dict(_flat((), tables))


def _flat(path: tuple[str, ...], value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat((*path, key), inner)
    elif path[1:]:
        yield ".".join(path), value if isinstance(value, str) else json.dumps(value)
