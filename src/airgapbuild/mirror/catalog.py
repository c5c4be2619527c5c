"""What a mirror serves: repositories of one registry or of several, and how they are found.

Three ways lead to a repository: its path with `ns=HOST`, as containerd and BuildKit ask a mirror;
its path below the registry's host; its path alone, as dockerd asks and as `push` places it. Where
two registries have the same path, alone it means Docker Hub's, else that of the host which comes
first by name.

Source: OCI distribution specification v1.1, "Registry Proxying".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airgapbuild.oci.content import MANIFEST_TYPES, parse_manifest
from airgapbuild.oci.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airgapbuild.extents import Extent
    from airgapbuild.oci.content import Content
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference


@dataclass(frozen=True)
class Blob:
    """Bytes that lie somewhere in files."""

    digest: Digest
    size: int
    extents: Callable[[int, int], Iterator[Extent]]
    """Where those from the first to before the second number lie."""


@dataclass
class Repository:
    """What is served of a repository."""

    registry: str
    path: str
    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: dict[Digest, Content] = field(default_factory=dict)
    blobs: dict[Digest, Blob] = field(default_factory=dict)
    referrers: dict[Digest, dict[Digest, Content]] = field(default_factory=dict)
    """The manifests that name another one as their subject, by that one's digest."""

    @property
    def full_name(self) -> str:
        """Registry and path."""
        return f"{self.registry}/{self.path}"

    def add(self, document: Content) -> None:
        """Serves a manifest or index, and lists it where it refers to another one.

        Raises:
            IntegrityError: it is none.
        """
        its = document.descriptor
        self.manifests[its.digest] = document
        if its.media_type in MANIFEST_TYPES:
            subject = parse_manifest(document, f"manifest {its.digest}").subject
            if subject:
                self.referrers.setdefault(subject, {})[its.digest] = document


class Catalog:
    """The repositories."""

    def __init__(self) -> None:
        self._repositories: dict[tuple[str, str], Repository] = {}

    def repository(self, name: Reference) -> Repository:
        """The repository of a name; a new one where it is not there yet."""
        key = name.registry, name.repository
        return self._repositories.setdefault(key, Repository(*key))

    def __iter__(self) -> Iterator[Repository]:
        """All of them, those of Docker Hub first, then by host and path."""
        keys = sorted(self._repositories, key=lambda key: (key[0] != DOCKER_HUB, *key))
        return (self._repositories[key] for key in keys)

    def find(self, path: str, host: str | None = None) -> Repository | None:
        """What a path means; with a host, in that registry alone."""
        if host is not None:
            return self._repositories.get((host, path))
        first, _, rest = path.partition("/")
        found = (it for it in self if it.path == path)
        return self._repositories.get((first, rest)) or next(found, None)

    def names(self, host: str | None = None) -> list[str]:
        """The shortest path to each repository, sorted; with a host, in that registry alone."""
        return sorted(
            self.path_of(it) if host is None else it.path
            for it in self
            if host in {None, it.registry}
        )

    def path_of(self, repository: Repository) -> str:
        """The shortest path to one of them."""
        is_found = self.find(repository.path) is repository
        return repository.path if is_found else repository.full_name

    def shadowed(self) -> list[tuple[Repository, Repository]]:
        """Those to which the path alone does not lead, each with the one to which it does."""
        return [(it, by) for it in self if (by := self.find(it.path)) is not it and by]
