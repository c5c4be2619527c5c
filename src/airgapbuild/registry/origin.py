"""Whom a secret is meant for, and where one answer may lead to."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from airgapbuild.errors import RegistryError
from airgapbuild.oci.reference import is_loopback

# urllib3 lets nearly everything be a host; these are asked for, and shown to the user.
_HOST = re.compile(r"[0-9a-z._-]+|\[[0-9a-f:.]+\]", re.ASCII)
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port: a secret goes where all three are the same, and nowhere else."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """Host and port, the port only where it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


def origin_of(url: str) -> Origin | None:
    """The origin of an http or https URL, read by the very parser that connects; else None."""
    try:
        parsed = parse_url(url)
    except LocationParseError:
        return None
    if parsed.scheme not in _PORTS or not _HOST.fullmatch(parsed.host or ""):
        return None
    return Origin(parsed.scheme, parsed.host or "", parsed.port or _PORTS[parsed.scheme])


def joined(url: str, location: str) -> str:
    """The URL that a Location header means; empty if it means none."""
    try:
        return urljoin(url, location) if location else ""
    except ValueError:
        return ""


def checked_step(name: str, url: str, target: str, status: int) -> Origin:
    """The origin of a URL (a redirect, a token server) that the answer of `url` points to.

    `name` is the registry and `status` the answer's, for the error.

    Raises:
        RegistryError: it is no URL, leaves TLS, or leads from another host to this machine.
    """
    start, end = origin_of(url), origin_of(target)
    if start is None or end is None:
        why = "what is no http or https URL"
    elif start.scheme == "https" and end.scheme == "http":
        why = f"plain http at {end.address}, away from https; refused"
    elif is_loopback(end.host) and not is_loopback(start.host):
        why = f"this very machine, {end.address}; refused"
    else:
        return end
    raise RegistryError(f"registry {name}: it points to {why}", status=status)
