"""What leads requests astray. Nothing is asked to find out: files and variables are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airgapbuild.doctor.finding import Finding, ok, warning
from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.endpoint import Endpoint
from airgapbuild.registry.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.doctor.site import Site

# Source: resolv.conf(5), which Go's resolver goes by as well (net/dnsconfig_unix.go).
_TIMEOUT: Final = 5
_ATTEMPTS: Final = 2
_MOST_SERVERS: Final = 3


def check_proxies(site: Site) -> Iterator[Finding]:
    """Whether a proxy stands where it should not."""
    yield from _before_daemon(site)
    if isinstance(site.daemon, Daemon) and site.daemon.proxy:
        yield ok(
            f"the daemon asks registries by the proxy {site.daemon.proxy}; the builder goes by "
            "its own settings"
        )


def _before_daemon(site: Site) -> Iterator[Finding]:
    """Docker's client goes to its daemon through a proxy, airgapbuild does not.

    Source: docker/go-connections sockets/sockets.go, `ConfigureTransport`.
    """
    if not isinstance(site.endpoint, Endpoint) or not site.endpoint.host.startswith("tcp://"):
        return
    scheme = "https" if site.endpoint.tls else "http"
    address = urlsplit(site.endpoint.host)
    host, port = address.hostname or "", address.port or 0
    if proxy := proxy_for(scheme, host, port, site.environ):
        exceptions = site.environ.get("NO_PROXY") or site.environ.get("no_proxy")
        yield warning(
            f"docker and buildx ask the daemon at {site.endpoint.host} through the proxy "
            f"{proxy.url}",
            f"{scheme.upper()}_PROXY is set, and NO_PROXY does not name {host}",
            f"export NO_PROXY={','.join(filter(None, (exceptions, host)))}",
        )


def lookup_seconds(resolv_conf: Path) -> int:
    """How long a name is looked for that no name server answers, in seconds."""
    try:
        lines = [line.split() for line in resolv_conf.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    servers = sum(line[:1] == ["nameserver"] for line in lines)
    options = [word for line in lines if line[:1] == ["options"] for word in line[1:]]
    timeout, attempts = (
        _option(options, "timeout", _TIMEOUT),
        _option(options, "attempts", _ATTEMPTS),
    )
    return max(1, min(servers, _MOST_SERVERS)) * timeout * attempts


def _option(options: list[str], name: str, default: int) -> int:
    values = [word.removeprefix(f"{name}:") for word in options if word.startswith(f"{name}:")]
    return int(values[-1]) if values and values[-1].isdecimal() else default
