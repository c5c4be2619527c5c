"""Registries through a real forward proxy, which alone knows their name."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.content import parse_index, parse_manifest
from airgapbuild.oci.reference import Reference, parse_reference
from airgapbuild.oci.source import read_blob
from tests.engines.pki import OUTSIDE
from tests.integration.faults import Server
from tests.integration.reading import ALICE, PROXY_USER, Notes, Open, refused

if TYPE_CHECKING:
    from airgapbuild.registry import RegistrySource
    from tests.engines.proxy import Proxy
    from tests.engines.registry import Registry

BUSYBOX = "library/busybox:1.37.0"


def outside(registry: Registry) -> str:
    """The registry by the name that only the proxy knows."""
    return f"{OUTSIDE}:{registry.address.rpartition(':')[2]}"


def busybox(address: str) -> Reference:
    return parse_reference(f"{address}/{BUSYBOX}")


def read_some(source: RegistrySource, reference: Reference) -> None:
    """Reads a manifest and a blob."""
    index = parse_index(source.manifest(reference), "index")
    _, descriptor = index.platforms[0]
    manifest = parse_manifest(source.manifest(reference.with_digest(descriptor.digest)), "it")
    assert read_blob(source, reference, manifest.config)


def test_https_goes_through_a_tunnel(tls_registry: Registry, proxy: Proxy, opened: Open) -> None:
    address = outside(tls_registry)
    settings = {address: RegistrySettings(ca=tls_registry.ca)}
    environ = {"HTTPS_PROXY": f"http://{proxy.address}", "HTTP_PROXY": "http://nowhere.invalid"}
    read_some(opened(settings, environ=environ), busybox(address))
    assert set(proxy.asked) == {f"CONNECT {address}"}


def test_a_tunnel_is_kept_for_the_next_request(
    tls_registry: Registry, proxy: Proxy, opened: Open
) -> None:
    address = outside(tls_registry)
    settings = {address: RegistrySettings(ca=tls_registry.ca)}
    source = opened(settings, environ={"https_proxy": proxy.address})
    read_some(source, busybox(address))
    read_some(source, busybox(address))
    assert len(proxy.asked) == 1


def test_http_is_asked_of_the_proxy_itself(registry: Registry, proxy: Proxy, opened: Open) -> None:
    address = outside(registry)
    notes = Notes()
    source = opened(
        {address: RegistrySettings(http=True)},
        progress=notes,
        environ={"HTTP_PROXY": f"http://{proxy.address}", "HTTPS_PROXY": "nowhere.invalid"},
    )
    read_some(source, busybox(address))
    assert proxy.asked[0] == f"GET http://{address}/v2/library/busybox/manifests/1.37.0"
    assert notes.notes == [
        f"registry {address}: plain http (http = true): "
        "what passes can be read and changed on the way"
    ]


@pytest.mark.parametrize("exception", [OUTSIDE, ".test", "*"])
def test_no_proxy_leaves_the_proxy_aside(
    tls_registry: Registry, proxy: Proxy, opened: Open, exception: str
) -> None:
    environ = {"HTTPS_PROXY": proxy.address, "NO_PROXY": f"10.0.0.0/8,{exception}"}
    error = refused(opened(environ=environ), busybox(outside(tls_registry)))
    assert error.message == f"registry {outside(tls_registry)}: unknown host"
    assert proxy.asked == []


def test_loopback_has_no_proxy(registry: Registry, proxy: Proxy, opened: Open) -> None:
    environ = {"HTTPS_PROXY": proxy.address, "HTTP_PROXY": proxy.address}
    read_some(opened(environ=environ), busybox(registry.address))
    assert proxy.asked == []


@pytest.mark.parametrize("tls", [True, False])
def test_a_proxy_gets_its_login(
    tls_registry: Registry, registry: Registry, login_proxy: Proxy, opened: Open, *, tls: bool
) -> None:
    address = outside(tls_registry if tls else registry)
    settings = {address: RegistrySettings(ca=tls_registry.ca, http=not tls)}
    login = ":".join(quote(part, safe="") for part in PROXY_USER)
    environ = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), f"http://{login}@{login_proxy.address}")
    read_some(opened(settings, environ=environ), busybox(address))


@pytest.mark.parametrize(
    ("login", "tls"),
    [
        ("", True),
        ("", False),
        ("bob:wr0ng@", True),  # for plain http tinyproxy says 401, as if it were the registry
        ("b%E2%82%ACb:wr0ng%E2%82%AC@", True),
    ],
)
def test_a_proxy_s_refusal_is_said_without_the_login(
    tls_registry: Registry,
    registry: Registry,
    login_proxy: Proxy,
    opened: Open,
    login: str,
    *,
    tls: bool,
) -> None:
    address = outside(tls_registry if tls else registry)
    settings = {address: RegistrySettings(ca=tls_registry.ca, http=not tls)}
    environ = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), f"http://{login}{login_proxy.address}")
    error = refused(opened(settings, environ=environ), busybox(address))
    assert error.message.startswith(f"registry {address}: the proxy")
    assert "wr0ng" not in f"{error.message}{error.hint}"
    assert "PROXY" in (error.hint or "")


def test_what_is_no_proxy_is_said_without_its_login(opened: Open) -> None:
    for proxy in ("http://bob:wr0ng@proxy:port", "socks5://bob:wr0ng@proxy", "http://bob:wr0ng@"):
        error = refused(opened(environ={"HTTPS_PROXY": proxy}), busybox("quay.io"))
        assert error.message.startswith("registry quay.io: the proxy")
        assert "wr0ng" not in f"{error.message}{error.hint}"
        assert "PROXY" in (error.hint or "")


def test_a_proxy_that_drops_a_connection_is_asked_again(opened: Open) -> None:
    settings = {"registry.invalid": RegistrySettings(http=True)}
    with Server(raw=b"") as dropping:
        environ = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), dropping.address)
        for registry in ("registry.invalid", "secure.invalid"):
            before = dropping.connections
            error = refused(opened(settings, environ=environ), busybox(registry))
            assert error.message.startswith(f"registry {registry}: ")
            assert dropping.connections - before > 1


def test_a_registry_s_login_is_not_the_proxy_s(
    htpasswd_registry: Registry, proxy: Proxy, opened: Open
) -> None:
    address = outside(htpasswd_registry)
    read_some(
        opened(
            {address: RegistrySettings(http=True)},
            lambda host, _: ALICE if host == address else None,
            environ={"HTTP_PROXY": proxy.address},
        ),
        busybox(address),
    )
    assert all(asked.startswith(f"GET http://{address}/v2/") for asked in proxy.asked)
