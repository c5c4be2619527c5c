from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from airgapbuild.credentials import ANONYMOUS, Credential
from airgapbuild.errors import RegistryError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.registry.auth import Authenticator
from airgapbuild.registry.hosts import Host
from airgapbuild.registry.origin import checked_step
from airgapbuild.registry.transport import Body, Request, Transport
from airgapbuild.registry.trust import Trust
from tests.integration.faults import Asked, Reply, Server, challenge, document, errors
from tests.integration.reading import (
    ALICE,
    BLOB,
    BLOB_PATH,
    DOCUMENT,
    GOOD,
    MANIFEST,
    PATIENT,
    Open,
    app,
    login,
    read,
    refused,
)

if TYPE_CHECKING:
    from tests.engines import pki

TOKEN = document(200, {"token": "t1", "expires_in": 300})


def bearer(server: Server, realm: str, *tokens: str, scope: str = "") -> None:
    """Makes the server ask for one of these tokens."""
    asks = challenge(f'Bearer realm="{realm}",service="reg, istry"{scope}')
    good = {f"Bearer {token}" for token in tokens or ("t1",)}
    server.guards["/v2/"] = lambda asked: None if asked.authorization in good else asks


def token_requests(server: Server) -> list[Asked]:
    return [asked for asked in server.asked if not asked.path.startswith("/v2/")]


def test_anybody_gets_a_token_for_what_is_public(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token?x=1")
    server.script.update({DOCUMENT: GOOD, BLOB_PATH: Reply(body=BLOB), "/token": TOKEN})
    source = opened()
    assert source.manifest(app(server)).raw == MANIFEST
    assert read(source, app(server)) == BLOB
    (asked,) = token_requests(server)
    assert (asked.method, asked.authorization) == ("GET", None)
    assert parse_qs(urlsplit(asked.path).query) == {
        "x": ["1"],
        "service": ["reg, istry"],
        "scope": ["repository:app:pull"],
    }
    assert [bool(asked.authorization) for asked in server.asked] == [False, False, True, True]


def test_a_login_is_shown_to_the_token_server_only(
    server: Server, other: Server, opened: Open, tls_server: Server, ca: pki.Pair
) -> None:
    del other
    bearer(server, f"{tls_server.url}/token")
    server.script[DOCUMENT] = GOOD
    tls_server.script["/token"] = document(200, {"access_token": "t1"})
    # http is given away: naming a CA alone would mean that the registry itself speaks TLS.
    settings = {server.address: RegistrySettings(ca=ca.cert, http=True)}
    source = opened(settings, login(ALICE, server))
    assert source.manifest(app(server)).raw == MANIFEST
    assert [asked.authorization for asked in server.asked] == [None, "Bearer t1"]
    (asked,) = tls_server.asked
    assert asked.authorization == "Basic " + base64.b64encode(b"alice:correct horse").decode()


def test_an_identity_token_is_changed_for_a_token(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token")
    server.script.update({DOCUMENT: GOOD, "/token": TOKEN})
    kept = Credential("<token>", "", "refresh me")
    assert opened(credentials=login(kept, server)).manifest(app(server)).raw == MANIFEST
    (asked,) = token_requests(server)
    assert (asked.method, asked.path, asked.authorization) == ("POST", "/token", None)
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh me"],
        "client_id": ["airgapbuild"],
        "service": ["reg, istry"],
        "scope": ["repository:app:pull"],
    }


def test_many_threads_fetch_one_token(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token")
    server.script.update({DOCUMENT: GOOD})

    def slowly(asked: Asked) -> Reply:
        time.sleep(0.05)
        return TOKEN

    server.guards["/token"] = slowly
    source = opened()
    with ThreadPoolExecutor(8) as threads:
        documents = list(threads.map(source.manifest, [app(server)] * 16))
    assert {document.raw for document in documents} == {MANIFEST}
    assert len(token_requests(server)) == 1


def test_each_repository_has_its_own_token(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token")
    server.script.update({DOCUMENT: GOOD, "/v2/app/more/manifests/1": GOOD, "/token": TOKEN})
    source = opened()
    source.manifest(app(server))
    source.manifest(app(server, "/more:1"))
    scopes = [parse_qs(urlsplit(a.path).query)["scope"] for a in token_requests(server)]
    assert scopes == [["repository:app:pull"], ["repository:app/more:pull"]]


def test_a_scope_that_is_asked_for_is_given(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token", scope=',scope="repository:real/app:pull"')
    server.script.update({DOCUMENT: GOOD, "/token": TOKEN})
    opened().manifest(app(server))
    assert "real%2Fapp" in token_requests(server)[0].path


def test_a_token_that_no_longer_serves_is_fetched_anew(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token")
    tokens = [document(200, {"token": token}) for token in ("t1", "t2")]
    server.script.update({DOCUMENT: GOOD, "/token": tokens})
    source = opened()
    source.manifest(app(server))
    bearer(server, f"{server.url}/token", "t2")
    assert source.manifest(app(server)).raw == MANIFEST
    assert [a.authorization for a in server.asked if a.path == DOCUMENT] == [
        None,
        "Bearer t1",
        "Bearer t1",
        "Bearer t2",
    ]


@pytest.mark.parametrize(("lifetime", "kept"), [({}, 60), ({"expires_in": 300}, 300)])
def test_a_token_is_not_shown_after_its_time(
    server: Server, lifetime: dict[str, int], kept: int
) -> None:
    bearer(server, f"{server.url}/token")
    server.script.update({DOCUMENT: GOOD, "/token": document(200, {"token": "t1", **lifetime})})
    now = [1000.0]
    host = Host(server.address, "", RegistrySettings())
    with closing(Transport(timeouts=PATIENT)) as transport:
        login = Authenticator(transport, ANONYMOUS, clock=lambda: now[0])
        request = Request(host.name, f"{host.base}/app/manifests/1", Trust())
        for passed in (0, kept - 1, kept):
            now[0] = 1000.0 + passed
            login.send(host, "app", "app:1", request).discard()
    shown = [a.authorization for a in server.asked if a.path == DOCUMENT]
    assert shown == [None, "Bearer t1", "Bearer t1", "Bearer t1"]


# What does not work


def test_a_private_repository_asks_for_a_login(server: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda _: challenge('Basic realm="x"')
    error = refused(opened(), app(server))
    assert error.status == 401
    assert error.message == (
        f"registry {server.address}: authentication required for {server.address}/app:1"
    )
    assert error.hint == (
        f"docker login {server.address}; "
        "registries also answer so for a repository that does not exist"
    )
    assert len(server.asked) == 1


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_a_wrong_password_is_said(server: Server, opened: Open, scheme: str) -> None:
    realm = f"{server.url}/token"
    server.guards["/v2/"] = lambda _: challenge(f'{scheme} realm="{realm}"')
    server.script["/token"] = document(401, {"details": "incorrect username or password"})
    error = refused(opened(credentials=login(ALICE, server)), app(server))
    words = "authentication required" if scheme == "Basic" else "incorrect username or password"
    assert error.message == (
        f"registry {server.address}: authentication required for {server.address}/app:1: "
        f"the login of 'alice' was refused ({words})"
    )
    assert error.hint == f"docker login {server.address}"
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize(
    ("credential", "asks"),
    [
        (ALICE, 'Basic realm="x"'),
        (ALICE, 'Bearer realm="{0}/token"'),
        (Credential("alice", "", "refresh me"), 'Bearer realm="{0}/token"'),
    ],
)
@pytest.mark.parametrize("by", ["the registry", "its token server"])
def test_an_answer_that_repeats_a_secret_is_not_quoted(
    server: Server, opened: Open, credential: Credential, asks: str, status: int, by: str
) -> None:
    secrets = [*credential.secrets, "t0ken"]

    def repeating(asked: Asked) -> Reply:
        shown = parse_qs(asked.body.decode()).get("refresh_token", [asked.authorization or ""])[0]
        if not shown:
            return challenge(asks.format(server.url))
        if asked.path.startswith("/token") and by == "the registry":
            return document(200, {"token": "t0ken"})
        plain = base64.b64decode(shown[6:]).decode() if shown.startswith("Basic ") else shown
        return errors(status, "DENIED", f"no: {shown} {plain}")

    server.guards["/"] = repeating
    error = refused(opened(credentials=login(credential, server)), app(server))
    assert error.status == status
    assert [secret for secret in secrets if secret in f"{error.message} {error.hint}"] == []


def test_a_login_is_chosen_by_the_repository_s_path_on_the_host(
    server: Server, other: Server, opened: Open
) -> None:
    server.guards["/v2/"] = lambda asked: (
        GOOD if asked.authorization == ALICE.basic else challenge('Basic realm="x"')
    )
    settings = {other.address: RegistrySettings(mirrors=(f"{server.address}/hub",), upstream=False)}

    def credentials(host: str, repository: str) -> Credential | None:
        return ALICE if (host, repository) == (server.address, "hub/app") else None

    assert opened(settings, credentials).manifest(app(other)).raw == MANIFEST


def test_a_token_that_does_not_help_is_not_fetched_for_ever(server: Server, opened: Open) -> None:
    bearer(server, f"{server.url}/token", "another")
    server.script["/token"] = TOKEN
    assert refused(opened(), app(server)).status == 401
    assert len(server.asked) == 3


def test_a_challenge_of_an_unknown_kind_is_not_answered(server: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda _: challenge('Negotiate abc==, Digest realm="x"')
    assert refused(opened(credentials=login(ALICE, server)), app(server)).status == 401
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": "t1", "expires_in": 1' + b"0" * 400 + b"}",
        b'{"token": "a\\r\\nX: y"}',
        b'{"token": "\xc3\xa4"}',
    ],
)
def test_what_is_no_token_is_said(server: Server, opened: Open, body: bytes) -> None:
    bearer(server, f"{server.url}/token")
    server.script["/token"] = document(200, body)
    assert refused(opened(), app(server)).message == (
        f"registry {server.address}: its token server's answer holds no token"
    )


def test_a_token_server_that_is_not_there_is_named(server: Server, opened: Open) -> None:
    bearer(server, "https://auth.invalid/token")
    assert refused(opened(), app(server)).message == (
        f"registry {server.address}: auth.invalid: unknown host"
    )


def test_a_login_is_not_sent_in_plain_text_elsewhere(
    server: Server, other: Server, opened: Open
) -> None:
    bearer(server, f"{other.url}/token")
    server.script[DOCUMENT] = GOOD
    other.script["/token"] = TOKEN
    for credential in (ALICE, Credential("<token>", "", "refresh me")):
        error = refused(opened(credentials=login(credential, server)), app(server))
        assert error.message == (
            f"registry {server.address}: it wants the login of '{credential.username}' sent to "
            f"{other.address} in plain text; refused"
        )
    assert other.asked == []
    # Nothing is given away where there is no login.
    assert opened().manifest(app(server)).raw == MANIFEST


def test_a_token_server_without_tls_is_refused_by_a_registry_with_it(
    tls_server: Server, server: Server, opened: Open, ca: pki.Pair
) -> None:
    bearer(tls_server, f"{server.url}/token")
    settings = {tls_server.address: RegistrySettings(ca=ca.cert)}
    assert refused(opened(settings, login(ALICE, tls_server)), app(tls_server)).message == (
        f"registry {tls_server.address}: it points to plain http at {server.address}, "
        "away from https; refused"
    )
    assert server.asked == []


@pytest.mark.parametrize("realm", ["", "/token", "file:///etc/passwd"])
def test_a_realm_that_is_no_url_is_said(server: Server, opened: Open, realm: str) -> None:
    bearer(server, realm)
    assert "no http or https URL" in refused(opened(), app(server)).message


def test_no_registry_leads_to_this_machine() -> None:
    with pytest.raises(RegistryError) as caught:
        checked_step("quay.io", "https://quay.io/v2/", "https://127.0.0.1:8443/token", 401)
    assert caught.value.message == (
        "registry quay.io: it points to this very machine, 127.0.0.1:8443; refused"
    )


def test_secrets_do_not_show() -> None:
    credential = Credential("alice", "correct horse", "refresh me")
    body = Body.of(b"refresh_token=secret", "application/x-www-form-urlencoded")
    request = Request("a", "https://a/", Trust(), authorization=credential.basic, body=body)
    shown = repr(credential) + repr(request)
    assert "alice" in shown
    for secret in ("horse", "refresh", "secret", "Basic"):
        assert secret not in shown
