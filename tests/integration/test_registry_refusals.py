from __future__ import annotations

import pytest

from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.reference import parse_reference
from tests.integration.faults import Reply, Server, challenge, errors
from tests.integration.reading import (
    ALICE,
    DOCUMENT,
    GOOD,
    MANIFEST,
    Notes,
    Open,
    app,
    login,
    refused,
)


def test_too_many_requests_in_the_registrys_own_words(server: Server, opened: Open) -> None:
    words = "You have reached your\npull \x1b[31mrate limit."
    server.script[DOCUMENT] = errors(429, "TOOMANYREQUESTS", words)
    error = refused(opened(), app(server))
    assert error.status == 429
    assert error.message == (
        f"registry {server.address}: too many requests for {server.address}/app:1 "
        "(You have reached your pull [31mrate limit.), tried 5 times"
    )
    assert error.hint == (
        f"docker login {server.address} for a higher limit, "
        f'or name a mirror in [registries."{server.address}"]'
    )


def test_not_found_says_what_to_check(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = errors(404, "MANIFEST_UNKNOWN", "manifest unknown")
    error = refused(opened(), app(server))
    assert error.status == 404
    assert error.message == (
        f"registry {server.address}: not found: {server.address}/app:1 (manifest unknown)"
    )
    assert error.hint == (
        "check the name and the tag; for a private repository, " + f"docker login {server.address}"
    )


def test_denied_names_the_login(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = errors(403, "DENIED", "requested access is denied")
    error = refused(opened(), app(server))
    assert error.status == 403
    assert error.message == (
        f"registry {server.address}: access to {server.address}/app:1 denied "
        "(requested access is denied)"
    )
    assert error.hint == f"docker login {server.address} as a user who may pull it"


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"errors": 1}', b'{"errors": [1]}', b"[" * 99_999, b"\xff"]
)
def test_an_error_without_words_is_said_by_its_status(
    server: Server, opened: Open, body: bytes
) -> None:
    server.script[DOCUMENT] = Reply(501, body)
    error = refused(opened(), app(server))
    assert error.status == 501
    assert error.message == f"registry {server.address}: status 501 for {server.address}/app:1"


def test_no_error_is_read_without_end(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = errors(501, "UNKNOWN", "x" * 100_000)
    assert refused(opened(), app(server)).message.endswith("app:1")
    server.script[DOCUMENT] = errors(501, "UNKNOWN", "x" * 10_000)
    assert len(refused(opened(), app(server)).message) < 500


@pytest.mark.parametrize(
    "reply",
    [errors(s, "X", "no") for s in (401, 403, 404, 408, 429, 500, 503)],
    ids=lambda r: r.status,
)
def test_the_next_host_is_asked_when_a_mirror_has_nothing(
    server: Server, other: Server, opened: Open, reply: Reply
) -> None:
    server.script["/v2/hub/app/manifests/1"] = reply
    other.script[DOCUMENT] = GOOD
    notes = Notes()
    settings = {other.address: RegistrySettings(mirrors=(f"{server.address}/hub",))}
    assert opened(settings, progress=notes).manifest(app(other)).raw == MANIFEST
    assert notes.details[0].startswith(f"registry {server.address}: ")
    assert notes.details[-1] == f"{other.address}/app:1: from {other.address}"


def test_a_mirror_that_has_it_is_enough(server: Server, other: Server, opened: Open) -> None:
    server.script["/v2/hub/app/manifests/1"] = GOOD
    settings = {other.address: RegistrySettings(mirrors=(f"{server.address}/hub",))}
    assert opened(settings).manifest(app(other)).raw == MANIFEST
    assert other.asked == []


@pytest.mark.parametrize("status", [400, 405])
def test_a_strange_answer_is_not_passed_over(
    server: Server, other: Server, opened: Open, status: int
) -> None:
    server.script[DOCUMENT] = Reply(status)
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    error = refused(opened(settings), app(other))
    assert error.status == status
    assert error.message == (
        f"{other.address}/app:1: registry {server.address}: "
        f"status {status} for {server.address}/app:1"
    )
    assert other.asked == []


def test_a_mirror_gets_its_own_login_and_no_others(
    server: Server, other: Server, opened: Open
) -> None:
    for host in (server, other):
        host.guards["/v2/"] = lambda _: challenge('Basic realm="x"')
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    error = refused(opened(settings, login(ALICE, other)), app(other))
    assert [asked.authorization for asked in server.asked] == [None]
    assert [asked.authorization for asked in other.asked] == [None, ALICE.basic]
    assert error.status == 401


def test_all_hosts_are_named_with_their_reasons(
    server: Server, other: Server, opened: Open
) -> None:
    settings = {
        other.address: RegistrySettings(mirrors=(f"{server.address}/hub", "mirror.invalid"))
    }
    other.script[DOCUMENT] = errors(429, "TOOMANYREQUESTS", "slow down")
    error = refused(opened(settings), app(other))
    assert error.message == (
        f"{other.address}/app:1: "
        f"registry {server.address}: not found: {server.address}/hub/app:1 (not in the script); "
        "registry mirror.invalid: unknown host; "
        f"registry {other.address}: too many requests for {other.address}/app:1 (slow down), "
        "tried 5 times"
    )
    assert error.status is None
    assert error.hint is not None
    assert error.hint.startswith(f"docker login {other.address}")


def test_the_only_mirror_is_named_after_what_was_asked_for(server: Server, opened: Open) -> None:
    settings = {"docker.io": RegistrySettings(mirrors=(server.address,), upstream=False)}
    error = refused(opened(settings), parse_reference("python:3.13"))
    assert error.message == (
        f"python:3.13: registry {server.address}: "
        f"not found: {server.address}/library/python:3.13 (not in the script)"
    )
    assert error.status == 404


def test_no_host_is_left(opened: Open) -> None:
    settings = {"docker.io": RegistrySettings(upstream=False)}
    error = refused(opened(settings), parse_reference("python:3.13"))
    assert error.message == "registry docker.io: there is no host to ask for python:3.13"
    assert error.hint == 'name mirrors in [registries."docker.io"], or drop upstream = false'
