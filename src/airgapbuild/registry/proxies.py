"""Which proxy stands before a host, by the variables that everybody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.registry.hosts import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for a host; loopback hosts never have one.

    Source: Go's golang.org/x/net/http/httpproxy, by which docker reads the same variables
    (its address ranges in NO_PROXY are not known here).
    """
    proxy = _value(environ, f"{scheme}_proxy")
    if not proxy or is_loopback(host):
        return None
    for entry in _value(environ, "no_proxy").lower().replace(",", " ").split():
        name = entry.removeprefix("*").removeprefix(".")
        if entry == "*" or (name and f".{host}".endswith(f".{name}")) or name == f"{host}:{port}":
            return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""
