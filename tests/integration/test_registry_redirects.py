from __future__ import annotations

import pytest

from airgapbuild.credentials import Credential
from airgapbuild.errors import RegistryError
from airgapbuild.manifest import RegistrySettings
from tests.engines import pki
from tests.integration.faults import Reply, Server, challenge, document
from tests.integration.reading import (
    ALICE,
    BLOB,
    BLOB_PATH,
    DOCUMENT,
    Notes,
    Open,
    app,
    login,
    read,
    refused,
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_blob_is_fetched_where_the_registry_points(
    server: Server, other: Server, opened: Open, status: int
) -> None:
    server.script[BLOB_PATH] = Reply(status, headers={"Location": f"{other.url}/store?sig=secret"})
    other.script["/store"] = Reply(body=BLOB)
    notes = Notes()
    assert read(opened(progress=notes), app(server)) == BLOB
    assert other.paths() == ["/store?sig=secret"]
    assert "secret" not in str(notes.details)


def test_a_login_stays_with_the_registry(server: Server, other: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda asked: (
        None if asked.authorization else challenge('Basic realm="x"')
    )
    server.script[BLOB_PATH] = Reply(302, headers={"Location": f"{other.url}/store"})
    server.script["/back"] = Reply(body=BLOB)
    other.script["/store"] = Reply(302, headers={"Location": f"{server.url}/back"})
    assert read(opened(credentials=login(ALICE, server, other)), app(server)) == BLOB
    assert [asked.authorization for asked in other.asked] == [None]
    # The way there had it, the way back from elsewhere has not.
    assert [bool(asked.authorization) for asked in server.asked] == [False, True, False]


def test_a_login_goes_along_on_the_same_host(server: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda asked: (
        None if asked.authorization else challenge('Basic realm="x"')
    )
    server.script[BLOB_PATH] = Reply(302, headers={"Location": "/v2/store"})
    server.script["/v2/store"] = Reply(body=BLOB)
    assert read(opened(credentials=login(ALICE, server)), app(server)) == BLOB


def test_another_hosts_401_gets_no_login(server: Server, other: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(302, headers={"Location": f"{other.url}/store"})
    other.script["/store"] = challenge(f'Bearer realm="{other.url}/token"')
    with pytest.raises(RegistryError, match="authentication required") as caught:
        read(opened(credentials=login(ALICE, server)), app(server))
    assert caught.value.status == 401
    assert other.paths() == ["/store"]


def test_a_redirect_away_from_tls_is_refused(
    tls_server: Server, server: Server, opened: Open, ca: pki.Pair
) -> None:
    tls_server.script[BLOB_PATH] = Reply(302, headers={"Location": f"{server.url}/store?s=secret"})
    settings = {tls_server.address: RegistrySettings(ca=ca.cert)}
    with pytest.raises(RegistryError) as caught:
        read(opened(settings), app(tls_server))
    assert caught.value.message == (
        f"registry {tls_server.address}: it points to plain http at {server.address}, "
        "away from https; refused"
    )
    assert server.asked == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", ""])
def test_a_redirect_to_nowhere_is_refused(server: Server, opened: Open, location: str) -> None:
    server.script[DOCUMENT] = Reply(302, headers={"Location": location} if location else {})
    error = refused(opened(), app(server))
    assert error.message == f"registry {server.address}: it points to what is no http or https URL"
    assert error.status == 302


def test_redirects_end(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = Reply(307, headers={"Location": DOCUMENT})
    error = refused(opened(), app(server))
    assert error.message == f"registry {server.address}: more than 5 redirects"
    assert error.status == 307
    assert len(server.asked) == 6


def test_a_token_stays_with_the_registry(server: Server, other: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda asked: (
        None if asked.authorization else challenge(f'Bearer realm="{server.url}/token"')
    )
    server.script["/token"] = document(200, {"token": "t1"})
    server.script[BLOB_PATH] = Reply(307, headers={"Location": f"{other.url}/store"})
    other.script["/store"] = Reply(body=BLOB)
    assert read(opened(), app(server)) == BLOB
    assert [asked.authorization for asked in other.asked] == [None]


def test_another_port_is_another_host(server: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda asked: (
        None if asked.authorization else challenge('Basic realm="x"')
    )
    with Server() as neighbour:
        server.script[BLOB_PATH] = Reply(302, headers={"Location": f"{neighbour.url}/store"})
        neighbour.script["/store"] = Reply(body=BLOB)
        assert read(opened(credentials=login(ALICE, server, neighbour)), app(server)) == BLOB
    assert [asked.authorization for asked in neighbour.asked] == [None]


@pytest.mark.parametrize(
    ("credential", "passed"),
    [(ALICE, [(None, b"")]), (Credential("alice", "", "refresh me"), [])],
    ids=["password", "identity token"],
)
def test_a_token_server_hands_no_login_on(
    server: Server,
    other: Server,
    opened: Open,
    credential: Credential,
    passed: list[tuple[str | None, bytes]],
) -> None:
    server.guards["/v2/"] = lambda _: challenge(f'Bearer realm="{server.url}/token"')
    server.script["/token"] = Reply(307, headers={"Location": f"{other.url}/token"})
    other.script["/token"] = Reply(401)
    error = refused(opened(credentials=login(credential, server)), app(server))
    assert error.message.startswith(f"registry {server.address}: ")
    assert [(asked.authorization, asked.body) for asked in other.asked] == passed
