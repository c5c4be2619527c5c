"""Image references, as Docker reads them.

Where an image lies in no registry, a transport before the reference says where it does.

Source: github.com/distribution/reference, `regexp.go` (the grammar) and `normalize.go` (what a
short name means: `python` is `docker.io/library/python:latest`); containers-transports(5).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator

from airgapbuild.oci.digest import Digest, parse_digest
from airgapbuild.oci.field import written_as_text

Transport: TypeAlias = Literal["registry", "oci-layout", "docker-daemon"]

_TRANSPORTS: Final = frozenset(get_args(Transport)) - {"registry"}
DOCKER_HUB: Final = "docker.io"
_LEGACY_HUB = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(
    rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII
)
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_IMAGE_ID = re.compile(r"[a-f0-9]{64}", re.ASCII)


@dataclass(frozen=True, order=True)
class Reference:
    """A repository in a registry and, of it, a tag or a digest or both."""

    registry: str
    """`docker.io`, or a host with an optional port; empty for an OCI layout."""
    repository: str
    """The path without the registry: `library/python`; the folder of an OCI layout."""
    tag: str | None = None
    digest: Digest | None = None
    transport: Transport = "registry"
    """`oci-layout`: a folder. `docker-daemon`: what the daemon holds under this name."""

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        """The full form, `docker.io/library/python:3.13-slim`."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self._prefix}{self.name}{tag}{digest}"

    @property
    def is_name(self) -> bool:
        """Whether a store of Docker could know an image by it: all but folders and digests."""
        return bool(self.registry and self.tag)

    @property
    def familiar(self) -> str:
        """The short form that people write, `python:3.13-slim`."""
        full = str(self).removeprefix(self._prefix)
        if self.registry != DOCKER_HUB:
            return self._prefix + full
        short = self.repository.removeprefix(_OFFICIAL)
        for name in (short, self.repository):
            # `library/a/b` is not `a/b`, the first part of `a.b/c` would be taken for a host, and
            # `docker-daemon:1` for a transport.
            if name not in _TRANSPORTS and _split_registry(name) == (
                self.registry,
                self.repository,
            ):
                return self._prefix + name + full.removeprefix(self.name)
        return self._prefix + full

    @property
    def context_name(self) -> str:
        """The name by which BuildKit looks for a context in the image's place.

        Source: moby/buildkit frontend/dockerui/config.go (`NamedContext`): as people write it,
        without `:latest`.
        """
        return self.familiar.removesuffix(":latest")

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository at a digest, without a tag: what is fetched once it is known.

        Outside of registries the tag stays: it is part of where the image lies.
        """
        tag = None if self.transport == "registry" else self.tag
        return replace(self, tag=tag, digest=digest)

    def with_tag(self, tag: str) -> Reference:
        """The same repository at a tag, without a digest."""
        return replace(self, tag=tag, digest=None)

    @property
    def _prefix(self) -> str:
        return "" if self.transport == "registry" else f"{self.transport}:"


def _split_registry(name: str) -> tuple[str, str]:
    """Registry and path; a first component is a host if it has a dot, a port, or is localhost."""
    first, slash, rest = name.partition("/")
    is_host = any(mark in first for mark in ".:[") or first == "localhost" or first != first.lower()
    registry, path = (first, rest) if slash and is_host else (DOCKER_HUB, name)
    if registry == _LEGACY_HUB:
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    return registry, path


def parse_reference(text: str) -> Reference:
    """The reference that `text` is; one without tag and digest gets the tag `latest`.

    Raises:
        ValueError: it is none; the message says which part is wrong.
    """
    if _IMAGE_ID.fullmatch(text):
        raise ValueError(f"'{text}' is an image ID, not a reference: write repository:tag")
    rest, at, digest_text = text.partition("@")
    digest = parse_digest(digest_text) if at else None
    name, tag = rest, None
    head, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail:
        name, tag = head, tail
    if tag is not None and not _TAG.fullmatch(tag):
        raise ValueError(f"'{text}' is not a reference: '{tag}' is no tag")
    registry, repository = _split_registry(name)
    if not _REGISTRY.fullmatch(registry):
        raise ValueError(f"'{text}' is not a reference: '{registry}' is no registry host")
    if not _REPOSITORY.fullmatch(repository):
        shown = repository.removeprefix(_OFFICIAL)
        why = " (must be lower case)" if shown != shown.lower() else ""
        raise ValueError(f"'{text}' is not a reference: '{shown}' is no repository name{why}")
    if len(repository) > _MAX_NAME:
        raise ValueError(f"'{text[:40]}…' is not a reference: more than {_MAX_NAME} characters")
    if tag is None and digest is None:
        tag = "latest"
    return Reference(registry, repository, tag, digest)


def parse_source(text: str) -> Reference:
    """The reference, with a transport or without, that `text` is.

    `oci-layout:FOLDER` and `FOLDER:TAG` and `FOLDER@DIGEST`, also as buildx writes it, with `//`;
    `docker-daemon:NAME`.

    Raises:
        ValueError: it is none; the message says which part is wrong.
    """
    transport, colon, rest = text.partition(":")
    if colon and transport == "oci-layout":
        return _parse_layout(text, re.sub("^//+", "/", rest.removeprefix("//")))
    if colon and transport == "docker-daemon":
        reference = parse_reference(rest)
        if reference.digest:
            raise ValueError(f"'{text}' must be docker-daemon:repository:tag, without a digest")
        return replace(reference, transport="docker-daemon")
    return parse_reference(text)


def _parse_layout(text: str, rest: str) -> Reference:
    rest, at, digest_text = rest.partition("@")
    digest = parse_digest(digest_text) if at else None
    head, colon, tail = rest.rpartition(":")
    folder, tag = (head, tail) if colon and "/" not in tail else (rest, None)
    if tag is not None and not _TAG.fullmatch(tag):
        raise ValueError(f"'{text}' is not a reference: '{tag}' is no tag")
    if not folder or not folder.isprintable():
        raise ValueError(f"'{text}' names no folder: write oci-layout:FOLDER or FOLDER:TAG")
    return Reference("", folder, tag, digest, "oci-layout")


def parse_tag(text: str) -> str:
    """The tag that `text` is.

    Raises:
        ValueError: it is none.
    """
    if not _TAG.fullmatch(text):
        raise ValueError(f"'{text[:100]}' is no tag")
    return text


def parse_repository(text: str) -> str:
    """The repository name, without a registry, that `text` is.

    Raises:
        ValueError: it is none.
    """
    if len(text) > _MAX_NAME or not _REPOSITORY.fullmatch(text):
        raise ValueError(f"'{text[:100]}' is no repository name")
    return text


def parse_registry(text: str) -> str:
    """The registry host that `text` is, Docker Hub under its one name.

    Raises:
        ValueError: it is none.
    """
    if not _REGISTRY.fullmatch(text):
        raise ValueError(f"'{text}' is not a registry host: write host or host:port, no scheme")
    return DOCKER_HUB if text == _LEGACY_HUB else text


def is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine by its very name."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def parse_prefix(text: str) -> str:
    """The registry, or part of one, that `text` is: `docker.io`, `docker.io/library`.

    Raises:
        ValueError: it is none.
    """
    host, slash, path = text.partition("/")
    if "://" in text or (slash and not _REPOSITORY.fullmatch(path)):
        raise ValueError(
            f"'{text}' is no registry, and no part of one: "
            "write host[:port][/path], no scheme, no tag"
        )
    return parse_registry(host) + slash + path


TagField = Annotated[str, AfterValidator(parse_tag)]
"""A tag as a field of a pydantic model."""

ReferenceField = Annotated[Reference, written_as_text(Reference, parse_reference)]
"""A reference as a field of a pydantic model: a string in TOML and JSON."""

SourceField = Annotated[Reference, written_as_text(Reference, parse_source)]
"""The same, where the image may lie in no registry."""
