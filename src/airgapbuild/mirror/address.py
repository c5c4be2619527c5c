"""Where a mirror listens."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airgapbuild.errors import UsageError
from airgapbuild.oci.reference import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

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
    if found is None or int(found["port"]) > _MAX_PORT or not (found["v6"] or found["host"]):
        raise UsageError(f"'{text}' is no HOST:PORT", hint="127.0.0.1:5000, [::1]:5000, 0.0.0.0:80")
    return Address(found["v6"] or found["host"], int(found["port"]))


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


def check_pair(cert: Path, key: Path) -> None:
    """Returns only if a certificate and a key can be used together.

    Raises:
        UsageError: they cannot.
    """
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
    try:
        # An empty password is an error where one is wanted; without one, OpenSSL would ask.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except OSError as error:
        reason = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
        raise UsageError(f"{cert} with {key}: are no pair: {reason}") from error
