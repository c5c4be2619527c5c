"""Logging in: anonymous first, then as the registry asks for it, as little as it asks for.

Source: distribution specification/auth/token.md (the GET with Basic) and oauth.md (the POST with an
identity token); RFC 9110, section 11.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlencode

from airgapbuild.errors import RegistryError
from airgapbuild.registry.challenge import Challenge, parse_challenges
from airgapbuild.registry.origin import checked_step, origin_of
from airgapbuild.registry.refusal import refusal
from airgapbuild.registry.transport import Body, Request
from airgapbuild.registry.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airgapbuild.credentials import Credential, Credentials
    from airgapbuild.registry.hosts import Host
    from airgapbuild.registry.transport import Answer, Transport


_OK, _PARTIAL = 200, 206
GIVEN: Final = frozenset({_OK, _PARTIAL})

_Scope: TypeAlias = tuple[str, str]
"""A resource and one action: `repository:app`, `pull`."""


@dataclass(frozen=True)
class _Grant:
    """An Authorization header and until when it serves, on the clock."""

    header: str = field(repr=False)
    expires: float
    challenges: tuple[Challenge, ...]
    """What it answers."""
    scopes: frozenset[_Scope] = frozenset()


class Authenticator:
    """The Authorization headers for each repository of each host. Safe to use from many threads."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._grants: dict[tuple[str, str], _Grant] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._guard = threading.Lock()

    def send(
        self,
        host: Host,
        path: str,
        what: str,
        request: Request,
        expected: Collection[int] = GIVEN,
    ) -> Answer:
        """The answer to a request for something of a repository, logged in if need be.

        Raises:
            RegistryError: the status is none of those expected, or a token server is not to be had
                or trusted.
        """
        at_home = origin_of(request.url) == origin_of(host.base)
        shown = self._current(host, path, what) if at_home else None
        answer = self._transport.send(replace(request, authorization=shown))
        # A 401 of some other host, behind a redirect, is not the registry's question.
        if answer.status == _UNAUTHORIZED and origin_of(answer.request.url) == origin_of(host.base):
            header = self._answer(host, path, what, answer)
            if header and header != shown:
                answer = self._transport.send(replace(request, authorization=header))
        if answer.status not in expected:
            raise self._refused(host, path, what, answer)
        return answer

    def _current(self, host: Host, path: str, what: str) -> str | None:
        """The header that serves for this repository; None if nothing was asked for yet.

        One whose time is over is fetched anew, so that no body is sent in vain.
        """
        key = (host.name, path)
        grant = self._grants.get(key)
        if grant is None or self._clock() < grant.expires:
            return grant.header if grant else None
        with self._turn(key):
            if self._grants[key] is grant:
                self._grants[key] = self._grant(host, path, what, grant) or grant
            return self._grants[key].header

    def _answer(self, host: Host, path: str, what: str, refused: Answer) -> str | None:
        """The header that a 401 asks for; None if there is nothing to show.

        Of many threads that meet a 401 at once, one fetches the token.
        """
        key = (host.name, path)
        request = refused.request
        challenges = parse_challenges(refused.headers.get("WWW-Authenticate", ""))
        refused.discard()
        scopes = _scopes(challenges, path, request)
        with self._turn(key):
            known = self._grants.get(key)
            if known and known.header != request.authorization and scopes <= known.scopes:
                return known.header
            wanted = scopes | known.scopes if known else scopes
            grant = self._grant(host, path, what, _Grant("", 0.0, challenges, wanted))
            if grant is not None:
                self._grants[key] = grant
            return grant.header if grant else None

    def _turn(self, key: tuple[str, str]) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())

    def _grant(self, host: Host, path: str, what: str, wanted: _Grant) -> _Grant | None:
        """A header that answers the challenges of `wanted`, for its scopes."""
        by_scheme = _by_scheme(wanted.challenges)
        credential = self._credentials(host.name, path)
        if bearer := by_scheme.get("bearer"):
            request = _token_request(host, bearer, _written(wanted.scopes), credential)
            answer = self._transport.send(request)
            if answer.status != _OK:
                raise self._refused(host, path, what, answer)
            return self._granted(host, answer, wanted)
        if "basic" in by_scheme and credential:
            return replace(wanted, header=credential.basic, expires=float("inf"))
        return None

    def _refused(self, host: Host, path: str, what: str, answer: Answer) -> RegistryError:
        """The error for an answer. Whoever gave it may repeat what it was shown: that is hidden."""
        secrets = [(answer.request.authorization or "").partition(" ")[2]]
        credential = self._credentials(host.name, path)
        if credential is None:
            return refusal(host.name, what, answer, secrets=secrets)
        secrets += credential.secrets
        return refusal(host.name, what, answer, credential.username, secrets=secrets)

    def _granted(self, host: Host, answer: Answer, wanted: _Grant) -> _Grant:
        """The token in a token server's answer. Source: token.md, "Token Response Fields"."""
        try:
            fields: Any = json.loads(answer.body(_MAX_ANSWER))
            token = fields.get("token") or fields.get("access_token")
            lifetime = float(fields.get("expires_in") or _LIFETIME)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            token = None
        # What goes into a header must not end it.
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            message = f"registry {host.name}: its token server's answer holds no token"
            raise RegistryError(message, status=answer.status)
        return replace(wanted, header=f"Bearer {token}", expires=self._clock() + lifetime)


_UNAUTHORIZED = 401
_LIFETIME = 60.0
_MAX_ANSWER = 1 << 20
_TOKEN = re.compile(r"[!-~]+", re.ASCII)


def _by_scheme(challenges: tuple[Challenge, ...]) -> dict[str, Challenge]:
    return {challenge.scheme: challenge for challenge in reversed(challenges)}


def _scopes(challenges: tuple[Challenge, ...], path: str, request: Request) -> frozenset[_Scope]:
    """What a challenge asks for; none where it asks for no token.

    Source: distribution specification/auth/scope.md; a mount names two repositories.
    """
    bearer = _by_scheme(challenges).get("bearer")
    if bearer is None:
        return frozenset()
    actions = "pull" if request.reads else "pull,push"
    scope = bearer.parameters.get("scope") or f"repository:{path}:{actions}"
    parts = (part.rpartition(":") for part in scope.split())
    return frozenset((name, it) for name, _, actions in parts for it in actions.split(","))


def _written(scopes: frozenset[_Scope]) -> str:
    """Scopes as a token server reads them, each resource once."""
    actions: dict[str, list[str]] = {}
    for resource, action in sorted(scopes):
        actions.setdefault(resource, []).append(action)
    return " ".join(f"{name}:{','.join(its)}".lstrip(":") for name, its in actions.items())


def _token_request(
    host: Host, bearer: Challenge, scope: str, credential: Credential | None
) -> Request:
    """The request for a token, once the realm may be trusted with it.

    Raises:
        RegistryError: the realm is none, or would have the login in plain text.
    """
    realm = bearer.parameters.get("realm", "")
    origin = checked_step(host.name, host.base, realm, _UNAUTHORIZED)
    home = origin_of(host.base)
    if credential and origin.scheme == "http" and (home is None or origin.host != home.host):
        raise RegistryError(
            f"registry {host.name}: it wants the login of '{credential.username}' sent to "
            f"{origin.address} in plain text; refused",
            status=_UNAUTHORIZED,
        )
    trust = Trust.of(host.settings)
    if origin != home:
        trust = trust.for_others
    asked = {"service": bearer.parameters.get("service", ""), "scope": scope}
    asked = {key: value for key, value in asked.items() if value}
    if credential and credential.identity_token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credential.identity_token,
            "client_id": "airgapbuild",
            **asked,
        }
        body = Body.of(urlencode(form).encode(), "application/x-www-form-urlencoded")
        return Request(host.name, realm, trust, method="POST", body=body)
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
    header = credential.basic if credential else None
    return Request(host.name, url, trust, authorization=header)
