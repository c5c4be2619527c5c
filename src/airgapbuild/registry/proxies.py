"""Which proxy stands before a host, by the variables that everybody knows."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from urllib3 import HTTPConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ProxySchemeUnknown

from airgapbuild.credentials import Credential
from airgapbuild.oci.reference import is_loopback
from airgapbuild.registry.origin import origin_of
from airgapbuild.registry.trust import Trust, tls_context

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Proxy:
    """A forward proxy."""

    url: str
    """Without its login."""
    authorization: str | None = field(repr=False)
    """The Proxy-Authorization header."""


class ProxyPool(ProxyManager):
    """Connections through a proxy: tunnels for https, requests to itself for plain http.

    Raises:
        ProxySchemeUnknown: its address is no http or https URL.
    """

    def __init__(self, proxy: Proxy, hosts: int, **options: Any) -> None:  # noqa: ANN401 - urllib3's
        if origin_of(proxy.url) is None:
            raise ProxySchemeUnknown(None)
        super().__init__(
            proxy.url,
            hosts,
            proxy_headers={"Proxy-Authorization": proxy.authorization}
            if proxy.authorization
            else None,
            # What a registry's settings say, or show, is not for the proxy.
            proxy_ssl_context=tls_context(Trust()),
            **options,
        )
        self.pool_classes_by_scheme = {**self.pool_classes_by_scheme, "http": _ForwardingPool}


class _Forwarding(HTTPConnection):
    """A request to the proxy itself. Tinyproxy closes after each, without a word of it before."""

    @property
    def is_connected(self) -> bool:
        return False


class _ForwardingPool(HTTPConnectionPool):
    ConnectionCls = _Forwarding


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for a host; loopback hosts never have one.

    Source: Go's golang.org/x/net/http/httpproxy, by which docker reads the same variables.
    """
    proxy = _value(environ, f"{scheme}_proxy")
    if not proxy or is_loopback(host):
        return None
    exceptions = _value(environ, "no_proxy").lower().replace(",", " ").split()
    if any(_covers(entry, host, port) for entry in exceptions):
        return None
    return _parsed(proxy if "://" in proxy else f"http://{proxy}")


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means a host: `*`, a domain, `host:port`, or a network."""
    if "/" in entry:
        return _within(host, entry)
    name = entry.removeprefix("*").removeprefix(".")
    return (
        entry == "*" or name == f"{host}:{port}" or bool(name and f".{host}".endswith(f".{name}"))
    )


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _parsed(url: str) -> Proxy:
    scheme, _, rest = url.partition("://")
    login, _, address = rest.partition("/")[0].rpartition("@")
    if not login:
        return Proxy(f"{scheme}://{address}", None)
    username, _, password = login.partition(":")
    return Proxy(f"{scheme}://{address}", Credential(unquote(username), unquote(password)).basic)


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""
