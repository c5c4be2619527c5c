"""One login."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Credential:
    """A user's login at one registry. Its secrets never show."""

    username: str
    password: str = field(repr=False)
    identity_token: str | None = field(repr=False, default=None)
    """What `docker login` keeps instead of a password where the registry hands one out."""

    @property
    def basic(self) -> str:
        """The Authorization header of it. Source: RFC 7617."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it must not be shown, also where a registry repeats it."""
        encoded = self.basic.removeprefix("Basic ")
        return tuple(filter(None, (self.password, self.identity_token, encoded)))


Credentials: TypeAlias = Callable[[str, str], Credential | None]
"""The credential for a registry host and the path of a repository there.

Docker Hub is asked for as `docker.io`.
"""


def ANONYMOUS(_host: str, _repository: str) -> Credential | None:  # noqa: N802 - a constant
    """No credential for anybody."""
    return None
