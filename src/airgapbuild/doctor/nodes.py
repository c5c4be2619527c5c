"""The builders that buildx knows, read for what they are made of."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.builder.instance import MARK, flaw
from airgapbuild.errors import BuilderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airgapbuild.builder.instance import StoredInstance

DOCKER_CONTAINER: Final = "docker-container"
_ENVIRONMENT: Final = "env."


@dataclass(frozen=True)
class Node:
    """One place where a builder runs."""

    name: str
    endpoint: str
    options: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def container(self) -> str:
        """The name of its container. Source: docker/buildx driver/manager.go."""
        return f"buildx_buildkit_{self.name}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that its container gets."""
        return {
            name.removeprefix(_ENVIRONMENT): value
            for name, value in self.options.items()
            if name.startswith(_ENVIRONMENT)
        }

    @property
    def is_ours(self) -> bool:
        """Whether `load` wrote it."""
        return MARK in self.options


def nodes_of(stored: StoredInstance) -> tuple[Node, ...]:
    """The nodes of a builder.

    Raises:
        BuilderError: its file is not what buildx writes.

    Source: docker/buildx store/nodegroup.go.
    """
    try:
        return tuple(_node(entry) for entry in json.loads(stored.document)["Nodes"] or ())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"builder '{stored.name}': not what buildx writes: {flaw(error)}"
        raise BuilderError(message, hint=f"docker buildx rm {stored.name}") from error


def _node(entry: dict[str, Any]) -> Node:
    options: Iterable[tuple[str, Any]] = (entry.get("DriverOpts") or {}).items()
    files: Iterable[tuple[str, str]] = (entry.get("Files") or {}).items()
    return Node(
        name=str(entry["Name"]),
        endpoint=str(entry.get("Endpoint", "")),
        options={name: str(value) for name, value in options},
        files={path: base64.b64decode(content) for path, content in files},
    )
