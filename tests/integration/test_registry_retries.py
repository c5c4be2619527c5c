from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airgapbuild.errors import PassingError, RegistryError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.reference import parse_reference
from airgapbuild.registry import Retries, Timeouts
from tests.engines import pki
from tests.integration.faults import Reply, Server, challenge, document, errors
from tests.integration.reading import (
    ALICE,
    DOCUMENT,
    GOOD,
    MANIFEST,
    PATIENT,
    Notes,
    Open,
    app,
    login,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOON = 1_800_000_000.0
NOON_IN_WORDS = "Fri, 15 Jan 2027 08:00:00 GMT"


class Waits(list[float]):
    """The waits that were asked for; none of them is waited."""

    def timeouts(self, dice: Callable[[], float] = lambda: 1.0) -> Timeouts:
        """Ours, on a clock that stands still; the dice fall highest unless told otherwise."""
        retries = Retries(longest=3.0, clock=lambda: NOON, sleep=self.append, random=dice)
        return replace(PATIENT, retries=retries)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(server: Server, opened: Open, status: int) -> None:
    server.script[DOCUMENT] = [Reply(status), Reply(status), GOOD]
    assert opened().manifest(app(server)).raw == MANIFEST


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_what_does_not_pass_is_not(server: Server, opened: Open, waits: Waits, status: int) -> None:
    server.script[DOCUMENT] = [Reply(status), GOOD]
    error = refused(opened(timeouts=waits.timeouts()), app(server))
    assert error.status == status
    assert "tried" not in error.message
    assert waits == []


def test_the_last_answer_says_how_often_it_was_tried(
    server: Server, opened: Open, waits: Waits
) -> None:
    server.script[DOCUMENT] = errors(503, "UNAVAILABLE", "under maintenance")
    error = refused(opened(timeouts=waits.timeouts()), app(server))
    assert error.message == (
        f"registry {server.address}: status 503 for {app(server)} (under maintenance), "
        "tried 5 times"
    )
    assert error.status == 503
    assert type(error) is RegistryError
    assert isinstance(error.__cause__, PassingError)
    assert len(server.asked) == 5


def test_waits_double_up_to_a_bound_and_are_drawn_below_it(
    server: Server, opened: Open, waits: Waits
) -> None:
    server.script[DOCUMENT] = Reply(500)
    refused(opened(timeouts=waits.timeouts()), app(server))
    assert waits == [0.5, 1.0, 2.0, 3.0]
    waits.clear()
    dice = iter([0.0, 0.25, 0.5, 0.75])
    refused(opened(timeouts=waits.timeouts(dice.__next__)), app(server))
    assert waits == [0.0, 0.25, 1.0, 2.25]


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7.0),
        ("0", 0.5),
        (NOON_IN_WORDS.replace("08:00:00", "08:01:30"), 90.0),
        (NOON_IN_WORDS.replace("2027", "2026"), 0.5),
        ("soon", 0.5),
        ("-7", 0.5),
        ("Fri, 99 Jan 2027 08:00:00 GMT", 0.5),
        ("", 0.5),
    ],
)
def test_a_host_is_left_alone_as_long_as_it_asks(
    server: Server, opened: Open, waits: Waits, header: str, wait: float
) -> None:
    server.script[DOCUMENT] = [Reply(429, headers={"Retry-After": header}), GOOD]
    assert opened(timeouts=waits.timeouts()).manifest(app(server)).raw == MANIFEST
    assert waits == [wait]


@pytest.mark.parametrize("header", ["3600", "9" * 400, NOON_IN_WORDS.replace("08:", "09:")])
def test_an_hour_is_not_waited_for(server: Server, opened: Open, waits: Waits, header: str) -> None:
    server.script[DOCUMENT] = Reply(429, headers={"Retry-After": header})
    error = refused(opened(timeouts=waits.timeouts()), app(server))
    assert error.message.startswith(
        f"registry {server.address}: too many requests for {app(server)}; the next try is due in "
    )
    assert error.status == 429
    assert waits == []
    assert len(server.asked) == 1


def test_a_host_that_gets_one_try_only_tells_when_the_next_is_due(
    server: Server, opened: Open, waits: Waits
) -> None:
    server.script[DOCUMENT] = Reply(429, headers={"Retry-After": "3600"})
    source = opened(timeouts=waits.timeouts())
    first, second = (refused(source, app(server)).message for _ in range(2))
    assert first == second
    assert first.endswith("; the next try is due in 3600 s")


def test_all_waits_together_have_a_bound(server: Server, opened: Open, waits: Waits) -> None:
    server.script[DOCUMENT] = Reply(503, headers={"Retry-After": "50"})
    error = refused(opened(timeouts=waits.timeouts()), app(server))
    assert error.message.endswith(", tried 3 times; the next try is due in 50 s")
    assert waits == [50.0, 50.0]


def test_each_try_is_told_once_to_all_and_again_to_the_curious(
    server: Server, opened: Open, waits: Waits
) -> None:
    failing = [errors(500, "UNKNOWN", "disk is full"), Reply(502), GOOD]
    server.script[DOCUMENT] = [*failing, *failing]
    notes = Notes()
    source = opened(timeouts=waits.timeouts(), progress=notes)
    source.manifest(app(server))
    name = app(server)
    tries = [
        f"registry {server.address}: status 500 for {name} (disk is full); "
        f"try 2 of 5 for {name} in 0.5 s",
        f"registry {server.address}: status 502 for {name}; try 3 of 5 for {name} in 1.0 s",
    ]
    assert notes.notes == tries
    assert notes.details == [f"{name}: from {server.address}"]
    source.manifest(app(server))
    assert notes.notes == tries
    assert notes.details[1:] == [*tries, f"{name}: from {server.address}"]


def test_the_next_request_has_tries_of_its_own(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = [*[Reply(503)] * 4, GOOD, *[Reply(503)] * 4, GOOD]
    source = opened()
    assert source.manifest(app(server)) == source.manifest(app(server))


def test_an_unknown_host_stays_unknown(opened: Open, waits: Waits) -> None:
    refused(opened(timeouts=waits.timeouts()), parse_reference("registry.invalid/app:1"))
    assert waits == []


def test_distrust_stays(tls_server: Server, opened: Open, waits: Waits, tmp_path: Path) -> None:
    settings = {tls_server.address: RegistrySettings(ca=pki.authority(tmp_path).cert)}
    error = refused(opened(settings, timeouts=waits.timeouts()), app(tls_server))
    assert "not trusted" in error.message
    assert waits == []


@pytest.fixture
def mute() -> Iterator[Server]:
    """Takes connections and closes them without a word."""
    with Server(raw=b"") as running:
        yield running


def test_no_answer_is_tried_again(mute: Server, opened: Open, waits: Waits) -> None:
    error = refused(opened(timeouts=waits.timeouts()), app(mute))
    assert error.message == (
        f"registry {mute.address}: it closed the connection without an answer, tried 5 times"
    )
    assert len(waits) == 4


def test_no_answer_over_tls_is_tried_again(mute: Server, opened: Open, waits: Waits) -> None:
    settings = {mute.address: RegistrySettings(insecure=True)}
    refused(opened(settings, timeouts=waits.timeouts()), app(mute))
    assert len(waits) == 4


def test_a_silent_proxy_is_tried_again(mute: Server, opened: Open, waits: Waits) -> None:
    settings = {"registry.invalid": RegistrySettings(http=True)}
    source = opened(settings, environ={"HTTP_PROXY": mute.url}, timeouts=waits.timeouts())
    refused(source, parse_reference("registry.invalid/app:1"))
    assert len(waits) == 4


def test_a_document_that_is_cut_is_asked_for_again(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = [Reply(body=MANIFEST, headers=GOOD.headers, cut=10), GOOD]
    assert opened().manifest(app(server)).raw == MANIFEST


def test_a_busy_token_server_is_tried_again(server: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda asked: (
        None if asked.authorization else challenge(f'Bearer realm="{server.url}/token"')
    )
    server.script["/token"] = [Reply(429), document(200, {"token": "abc"})]
    server.script[DOCUMENT] = GOOD
    assert opened().manifest(app(server)).raw == MANIFEST


def test_whoever_is_logged_in_is_told_of_mirrors(server: Server, opened: Open) -> None:
    server.guards["/v2/"] = lambda asked: (
        None if asked.authorization else challenge('Basic realm="x"')
    )
    server.script[DOCUMENT] = errors(429, "TOOMANYREQUESTS", "slow down")
    error = refused(opened(credentials=login(ALICE, server)), app(server))
    assert error.hint == f'name a mirror in [registries."{server.address}"], or wait'


def test_a_mirror_that_is_down_is_waited_for_once(
    server: Server, other: Server, opened: Open, waits: Waits
) -> None:
    server.script[DOCUMENT] = [*[Reply(503)] * 6, GOOD, *[Reply(503)] * 4, GOOD]
    other.script[DOCUMENT] = GOOD
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    source = opened(settings, timeouts=waits.timeouts())
    for asked in (5, 6, 7, 12):
        assert source.manifest(app(other)).raw == MANIFEST
        assert len(server.asked) == asked
    assert len(waits) == 8
    assert len(other.asked) == 2
