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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airgapbuild.errors import RegistryError
from airgapbuild.registry.challenge import Challenge, parse_challenges
from airgapbuild.registry.origin import checked_step, origin_of
from airgapbuild.registry.refusal import refusal
from airgapbuild.registry.transport import Request
from airgapbuild.registry.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from airgapbuild.credentials import Credential, Credentials
    from airgapbuild.registry.hosts import Host
    from airgapbuild.registry.transport import Answer, Transport


@dataclass(frozen=True)
class _Grant:
    """An Authorization header and until when it serves, on the clock."""

    header: str = field(repr=False)
    expires: float


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

    def get(self, host: Host, path: str, what: str, request: Request) -> Answer:
        """The answer to a request for something of a repository, logged in if need be.

        Raises:
            RegistryError: the status is neither 200 nor 206, or a token server is not to be had or
                trusted.
        """
        shown = self._known(host, path)
        answer = self._transport.send(replace(request, authorization=shown))
        # A 401 of some other host, behind a redirect, is not the registry's question.
        if answer.status == _UNAUTHORIZED and origin_of(answer.request.url) == origin_of(host.base):
            header = self._answer(host, path, what, answer, shown)
            if header and header != shown:
                answer = self._transport.send(replace(request, authorization=header))
        if answer.status not in _GIVEN:
            raise self._refused(host, path, what, answer)
        return answer

    def _known(self, host: Host, path: str) -> str | None:
        """The header that has served for this repository; None if there is none that still does."""
        grant = self._grants.get((host.name, path))
        return grant.header if grant and self._clock() < grant.expires else None

    def _answer(
        self, host: Host, path: str, what: str, refused: Answer, shown: str | None
    ) -> str | None:
        """The header that a 401 asks for; None if there is nothing to show.

        Of many threads that meet a 401 at once, one fetches the token.
        """
        key = (host.name, path)
        challenges = parse_challenges(refused.headers.get("WWW-Authenticate", ""))
        refused.discard()
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            known = self._known(host, path)
            if known is not None and known != shown:
                return known
            grant = self._grant(host, path, what, challenges)
            if grant is not None:
                self._grants[key] = grant
            return grant.header if grant else None

    def _grant(
        self, host: Host, path: str, what: str, challenges: tuple[Challenge, ...]
    ) -> _Grant | None:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        credential = self._credentials(host.name, path)
        if bearer := by_scheme.get("bearer"):
            scope = bearer.parameters.get("scope") or f"repository:{path}:pull"
            request = _token_request(host, bearer, scope, credential)
            answer = self._transport.send(request)
            if answer.status != _OK:
                raise self._refused(host, path, what, answer)
            return self._granted(host, answer)
        if "basic" in by_scheme and credential:
            return _Grant(credential.basic, float("inf"))
        return None

    def _refused(self, host: Host, path: str, what: str, answer: Answer) -> RegistryError:
        """The error for an answer. Whoever gave it may repeat what it was shown: that is hidden."""
        secrets = [(answer.request.authorization or "").partition(" ")[2]]
        credential = self._credentials(host.name, path)
        if credential is None:
            return refusal(host.name, what, answer, secrets=secrets)
        secrets += credential.secrets
        return refusal(host.name, what, answer, credential.username, secrets=secrets)

    def _granted(self, host: Host, answer: Answer) -> _Grant:
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
        return _Grant(f"Bearer {token}", self._clock() + lifetime)


_OK, _PARTIAL, _UNAUTHORIZED = 200, 206, 401
_GIVEN = frozenset({_OK, _PARTIAL})
_LIFETIME = 60.0
_MAX_ANSWER = 1 << 20
_TOKEN = re.compile(r"[!-~]+", re.ASCII)


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
        return Request(host.name, realm, trust, form=form)
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
    header = credential.basic if credential else None
    return Request(host.name, url, trust, authorization=header)
