"""Where a mirror listens."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from airgapbuild.errors import UsageError
from airgapbuild.oci.reference import is_loopback

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/]*)):(?P<port>\d{1,5})")
_MAX_PORT = 65535
_WAITING = 1024
"""Connections that wait to be accepted."""


@dataclass(frozen=True)
class Address:
    """A host, or an address of this machine, and a port; 0 for any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        """As in an URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine itself can come there."""
        return is_loopback(str(self))


def parse_address(text: str) -> Address:
    """The address that `text` is: `HOST:PORT`, `[::1]:PORT`.

    Raises:
        UsageError: it is none.
    """
    found = _ADDRESS.fullmatch(text)
    host = found and (found["v6"] or found["host"])
    if not (found and host and _can_be_asked_for(host)) or int(found["port"]) > _MAX_PORT:
        raise UsageError(f"'{text}' is no HOST:PORT", hint="127.0.0.1:5000, [::1]:5000, 0.0.0.0:80")
    return Address(host, int(found["port"]))


def _can_be_asked_for(host: str) -> bool:
    """Whether names of its form are resolved: no label of it is empty or too long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def listen(address: Address) -> socket.socket:
    """A socket that listens there.

    Raises:
        UsageError: it cannot.
    """
    try:
        [(family, _, _, _, where), *_] = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(where[:2], family=family, backlog=_WAITING)
    except OSError as error:
        raise UsageError(f"--listen {address}: {error.strerror}") from error
