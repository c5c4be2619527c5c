"""The document that docker calls config.json, podman auth.json, and CI DOCKER_AUTH_CONFIG.

Source: docker/cli cli/config/configfile; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airgapbuild.credentials.credential import Credential
from airgapbuild.oci.reference import DOCKER_HUB

AskHelper: TypeAlias = Callable[[str, str], Credential | None]
"""What the helper of this name knows for a host."""

_HUB_HOSTS = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_API_VERSIONS = frozenset({"v1", "v2"})


@dataclass(frozen=True)
class Found:
    """A login, and what it was kept for."""

    credential: Credential
    place: str
    """`quay.io`, or `quay.io/team` where it is for a part of the registry."""
    helper: str | None = None
    """Which helper keeps it, if one does."""


@dataclass(frozen=True)
class AuthFile:
    """Logins by place: a host, or a host with the path of a namespace or a repository."""

    auths: Mapping[str, Credential]
    helpers: Mapping[str, str] = field(default_factory=dict)
    """Which helper is asked for a host."""
    store: str | None = None
    """The helper for every other host."""

    def find(self, host: str, repository: str, ask: AskHelper) -> Found | None:
        """The login for a repository: the longest place that holds it wins.

        A helper is asked by host alone, and before the file's own entry for it, as docker does.
        """
        place = f"{canonical_host(host)}/{repository}"
        while "/" in place:
            if credential := self.auths.get(place):
                return Found(credential, place)
            place = place.rpartition("/")[0]
        helper = self.helpers.get(place) or self.store
        if helper and (credential := ask(helper, place)):
            return Found(credential, place, helper)
        return Found(self.auths[place], place) if place in self.auths else None


def parse_auth_file(raw: str | bytes) -> AuthFile:
    """The logins in a document.

    Raises:
        ValueError: it is none; the message never quotes it, since it is full of secrets.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    helpers = _table(document, "credHelpers")
    store = document.get("credsStore") or None
    if not all(isinstance(helper, str) for helper in (*helpers.values(), store or "")):
        raise ValueError("a credential helper in it is no name")
    auths: dict[str, Credential] = {}
    for key, entry in _table(document, "auths").items():
        if credential := _credential(key, entry):
            auths.setdefault(place_of(key), credential)
    return AuthFile(auths, {place_of(host): helper for host, helper in helpers.items()}, store)


def place_of(key: str) -> str:
    """What a key of `auths` stands for; an URL, as docker once wrote them, stands for its host."""
    scheme, _, rest = key.rpartition("://")
    host, _, path = rest.strip("/").partition("/")
    if not path or scheme or path in _API_VERSIONS:
        return canonical_host(host)
    return f"{canonical_host(host)}/{path}"


def canonical_host(host: str) -> str:
    """One spelling for each registry; GitLab names the port of https too."""
    host = host.lower().removesuffix(":443")
    return DOCKER_HUB if host in _HUB_HOSTS else host


def _table(document: object, key: str) -> Mapping[str, Any]:
    table = (document.get(key) or {}) if isinstance(document, dict) else None
    if not isinstance(table, dict):
        raise ValueError(f"it has no table of {key}")  # noqa: TRY004 - it is a value of the file's
    return table


def _credential(key: str, entry: object) -> Credential | None:
    """What an entry holds; None where it only says that a helper knows the registry."""
    if not isinstance(entry, dict):
        raise ValueError(f"its entry for '{key}' is no table")  # noqa: TRY004 - see above
    username, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        username, password = _decoded(key, auth)
    if token := entry.get("identitytoken"):
        return Credential(str(username) or "<token>", "", str(token))
    return Credential(str(username), str(password)) if username else None


def _decoded(key: str, auth: object) -> tuple[str, str]:
    try:
        raw = base64.b64decode("".join(str(auth).split()), validate=True)
        username, colon, password = raw.decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise ValueError(f"its entry for '{key}' holds no base64 of user:password")
    return username, password.strip("\0")
