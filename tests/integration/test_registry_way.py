from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from airgapbuild.errors import ManifestError, RegistryError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.reference import parse_reference
from tests.engines import pki
from tests.integration.faults import Reply, Server
from tests.integration.reading import (
    BLOB,
    BLOB_PATH,
    DOCUMENT,
    GOOD,
    IMPATIENT,
    MANIFEST,
    Open,
    app,
    read,
    refused,
)


def test_nobody_listens(opened: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"localhost:{unused.getsockname()[1]}"
        error = refused(opened(), parse_reference(f"{address}/app:1"))
    assert error.message == f"registry {address}: connection refused, tried 5 times"
    assert error.status is None


def test_nobody_knows_the_host(opened: Open) -> None:
    error = refused(opened(), parse_reference("registry.invalid/app:1"))
    assert error.message == "registry registry.invalid: unknown host"
    assert error.hint == "check its name and this machine's DNS"


def test_a_silent_host_is_not_waited_for(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = Reply(hang=True)
    error = refused(opened(timeouts=IMPATIENT), app(server))
    assert error.message == (
        f"registry {server.address}: it fell silent: no byte came in time, tried 5 times"
    )
    assert len(server.asked) == 5


def test_no_connection_in_time(opened: Open) -> None:
    # A full backlog drops what comes: a firewall that is silent, on this very machine.
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        error = refused(opened(timeouts=IMPATIENT), parse_reference(f"{address}/app:1"))
    assert error.message == f"registry {address}: no connection in time, tried 5 times"
    assert error.hint == "a firewall may drop packets; is a proxy needed?"


def test_what_speaks_no_http_is_said(opened: Open) -> None:
    with Server(raw=b"SSH-2.0-OpenSSH_9.2\r\n") as server:
        error = refused(opened(), app(server))
    assert error.message.startswith(f"registry {server.address}: its answer is no proper HTTP")


def test_a_proxy_is_used_and_named(opened: Open, server: Server) -> None:
    proxied = "http://registry.invalid/v2/app/manifests/1"
    server.script[proxied] = GOOD
    settings = {"registry.invalid": RegistrySettings(http=True)}
    reference = parse_reference("registry.invalid/app:1")
    environ = {"HTTP_PROXY": f"http://user:p%40ss@{server.address}"}
    assert opened(settings, environ=environ).manifest(reference).raw == MANIFEST
    assert server.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    error = refused(opened(settings, environ={"http_proxy": "proxy.invalid:3128"}), reference)
    assert error.message == "registry registry.invalid: the proxy: unknown host"
    error = refused(opened(environ={"HTTPS_PROXY": server.address}), reference)
    assert error.message.startswith(
        "registry registry.invalid: the proxy: tunnel connection failed"
    )
    assert error.hint == "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY"


def test_a_private_ca_is_asked_for_and_then_trusted(
    tls_server: Server, opened: Open, ca: pki.Pair, leaf: pki.Pair, tmp_path: Path
) -> None:
    tls_server.script[DOCUMENT] = GOOD
    another = RegistrySettings(ca=pki.authority(tmp_path).cert)
    error = refused(opened({tls_server.address: another}), app(tls_server))
    assert error.message == (
        f"registry {tls_server.address}: its certificate is not trusted: "
        "unable to get local issuer certificate"
    )
    assert error.hint == (
        f'if its CA is a private one: ca = "ca.pem" in [registries."{tls_server.address}"]'
    )
    for trusted in (ca.cert, leaf.cert):
        settings = {tls_server.address: RegistrySettings(ca=trusted)}
        assert opened(settings).manifest(app(tls_server)).raw == MANIFEST


def test_insecure_asks_for_no_certificate_and_is_quiet(tls_server: Server, opened: Open) -> None:
    tls_server.script[DOCUMENT] = GOOD
    settings = {tls_server.address: RegistrySettings(insecure=True)}
    assert opened(settings).manifest(app(tls_server)).raw == MANIFEST


def test_a_certificate_of_another_name_is_said(leaf: pki.Pair, ca: pki.Pair, opened: Open) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with Server(context, host="127.0.0.2", bind="127.0.0.2") as server:
        error = refused(opened({server.address: RegistrySettings(ca=ca.cert)}), app(server))
    assert error.message.startswith(
        f"registry {server.address}: its certificate is not trusted: IP address mismatch"
    )
    assert error.hint == "its certificate must be renewed, or the registry called by the name in it"


def test_plain_http_is_guessed(server: Server, opened: Open) -> None:
    settings = {server.address: RegistrySettings(insecure=True)}
    error = refused(opened(settings), app(server))
    assert error.message == f"registry {server.address}: no TLS with it: {WRONG_VERSION}"
    assert error.hint == f'if it speaks plain http: http = true in [registries."{server.address}"]'


WRONG_VERSION = (
    "wrong version number" if ssl.OPENSSL_VERSION_INFO < (3, 2) else "record layer failure"
)


def test_a_client_certificate_is_shown_where_it_is_wanted(
    mutual_server: Server, opened: Open, ca: pki.Pair, leaf: pki.Pair
) -> None:
    mutual_server.script[DOCUMENT] = GOOD
    settings = {mutual_server.address: RegistrySettings(ca=ca.cert, cert=leaf.cert, key=leaf.key)}
    assert opened(settings).manifest(app(mutual_server)).raw == MANIFEST
    error = refused(
        opened({mutual_server.address: RegistrySettings(ca=ca.cert)}), app(mutual_server)
    )
    assert error.message.startswith(f"registry {mutual_server.address}: no TLS with it: ")
    assert error.hint == (
        f'if it wants a client certificate: cert and key in [registries."{mutual_server.address}"]'
    )


def test_a_client_certificate_does_not_follow_a_redirect(
    tls_server: Server, mutual_server: Server, opened: Open, ca: pki.Pair, leaf: pki.Pair
) -> None:
    location = mutual_server.url + BLOB_PATH
    tls_server.script[BLOB_PATH] = Reply(302, headers={"Location": location})
    mutual_server.script[BLOB_PATH] = Reply(body=BLOB)
    settings = {tls_server.address: RegistrySettings(ca=ca.cert, cert=leaf.cert, key=leaf.key)}
    with pytest.raises(RegistryError) as caught:
        read(opened(settings), app(tls_server))
    start = f"registry {tls_server.address}: {mutual_server.address}: no TLS with it: "
    assert caught.value.message.startswith(start)


@pytest.mark.parametrize("field", ["ca", "cert"])
def test_a_file_that_is_no_certificate_is_the_manifests_fault(
    tls_server: Server, opened: Open, tmp_path: Path, field: str
) -> None:
    path = tmp_path / "wrong.pem"
    path.write_text("no certificate")
    settings = RegistrySettings(ca=path) if field == "ca" else RegistrySettings(cert=path)
    with pytest.raises(ManifestError) as caught:
        opened({tls_server.address: settings}).manifest(app(tls_server))
    assert caught.value.message.startswith(f"{field} '{path}': ")
    assert caught.value.hint == (
        "it must be a PEM file; a key must have no password and belong to its certificate"
    )
