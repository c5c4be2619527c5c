from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airgapbuild.errors import IntegrityError, RangeIgnored, RegistryError
from airgapbuild.manifest import RegistrySettings
from tests.engines import pki
from tests.integration.faults import Asked, Reply, Server, errors, ranged
from tests.integration.reading import (
    BLOB,
    BLOB_PATH,
    IMPATIENT,
    LAYER,
    Notes,
    Open,
    app,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airgapbuild.registry import RegistrySource

SIZE = LAYER.size
WHAT = f"blob {LAYER.digest[7:19]}"


def knows_ranges(*faults: dict[str, Any], body: bytes = BLOB) -> Callable[[Asked], Reply]:
    """A host that answers with what is asked for, with these faults in turn, then with none."""
    left = list(faults)
    return lambda asked: ranged(body, asked, **(left.pop(0) if left else {}))


def ranges(server: Server) -> list[str | None]:
    return [asked.headers.get("range") for asked in server.asked]


def part(source: RegistrySource, server: Server, start: int, stop: int) -> bytes:
    return b"".join(source.part(app(server), LAYER, start, stop))


# A blob that breaks off.


def test_a_transfer_goes_on_where_it_was_cut(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"cut": 100_000}, {"cut": 50_000})
    notes = Notes()
    assert read(opened(progress=notes), app(server)) == BLOB
    assert ranges(server) == [None, f"bytes=100000-{SIZE - 1}", f"bytes=150000-{SIZE - 1}"]
    assert f"try 2 of 5 for {WHAT} of {app(server)} from byte 100000 in " in notes.notes[0]


def test_every_new_byte_gives_it_all_tries_again(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges(*[{"cut": 20_000}] * 14)
    assert read(opened(), app(server)) == BLOB
    assert len(server.asked) == 15


def test_a_transfer_that_comes_no_further_ends(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"cut": 100_000}, *[{"cut": 0}] * 9)
    with pytest.raises(RegistryError) as caught:
        read(opened(), app(server))
    assert caught.value.message == (
        f"registry {server.address}: the connection broke off in the middle of an answer, "
        "tried 5 times"
    )
    assert len(server.asked) == 5


def test_a_transfer_that_stalls_goes_on(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"stall": 100_000})
    assert read(opened(timeouts=IMPATIENT), app(server)) == BLOB


def test_a_transfer_that_ends_early_goes_on(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"unsized": True, "cut": 100_000})
    assert read(opened(), app(server)) == BLOB
    assert ranges(server) == [None, f"bytes=100000-{SIZE - 1}"]


def test_a_transfer_over_tls_goes_on(tls_server: Server, opened: Open, ca: pki.Pair) -> None:
    tls_server.guards[BLOB_PATH] = knows_ranges({"cut": 100_000}, {"cut": 0})
    settings = {tls_server.address: RegistrySettings(ca=ca.cert)}
    assert read(opened(settings), app(tls_server)) == BLOB
    assert ranges(tls_server)[1:] == [f"bytes=100000-{SIZE - 1}"] * 2


def test_an_error_where_it_should_go_on_is_tried_again(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = [
        Reply(body=BLOB, cut=1000),
        errors(503, "UNAVAILABLE", "restarting"),
        Reply(206, BLOB[1000:], {"Content-Range": f"bytes 1000-{SIZE - 1}/{SIZE}"}),
    ]
    assert read(opened(), app(server)) == BLOB


def test_a_server_without_ranges_is_started_over(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = [
        Reply(body=BLOB, cut=200_000),
        Reply(body=BLOB, cut=100_000),
        Reply(body=BLOB),
    ]
    assert read(opened(), app(server)) == BLOB
    assert ranges(server)[1:] == [f"bytes=200000-{SIZE - 1}"] * 2


def test_the_digest_covers_both_sides_of_a_cut(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = [
        Reply(body=b"x" + BLOB[1:], cut=1000),
        Reply(206, BLOB[1000:], {"Content-Range": f"bytes 1000-{SIZE - 1}/{SIZE}"}),
    ]
    with pytest.raises(IntegrityError, match=f"expected {LAYER.digest}, got sha256:"):
        read(opened(), app(server))


def test_a_signed_address_is_asked_for_anew(server: Server, other: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = [
        Reply(307, headers={"Location": f"{other.url}/store?signed={turn}"}) for turn in (1, 2)
    ]
    other.guards["/store"] = knows_ranges({"cut": 1000})
    assert read(opened(), app(server)) == BLOB
    assert other.paths() == ["/store?signed=1", "/store?signed=2"]
    assert ranges(other) == [None, f"bytes=1000-{SIZE - 1}"]


def test_the_next_host_goes_on_where_a_mirror_ends(
    server: Server, other: Server, opened: Open
) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"cut": 100_000}, *[{"cut": 0}] * 9)
    other.guards[BLOB_PATH] = knows_ranges()
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    assert read(opened(settings), app(other)) == BLOB
    assert ranges(other) == [f"bytes=100000-{SIZE - 1}"]


def test_the_next_host_does_not_mend_wrong_bytes(
    server: Server, other: Server, opened: Open
) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"cut": 1000}, *[{"cut": 0}] * 9, body=b"x" * SIZE)
    other.guards[BLOB_PATH] = knows_ranges()
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    with pytest.raises(IntegrityError) as caught:
        read(opened(settings), app(other))
    assert caught.value.message.startswith(
        f"{WHAT} of {app(other)} from {server.address}, {other.address}: "
        f"expected {LAYER.digest}, got sha256:"
    )


def test_the_next_host_goes_on_where_a_mirror_answers_with_another_part(
    server: Server, other: Server, opened: Open
) -> None:
    another = Reply(206, BLOB[:10], {"Content-Range": f"bytes 0-9/{SIZE}"})
    server.script[BLOB_PATH] = [Reply(body=BLOB, cut=1000), another]
    other.guards[BLOB_PATH] = knows_ranges()
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    assert read(opened(settings), app(other)) == BLOB
    assert ranges(other) == [f"bytes=1000-{SIZE - 1}"]


def test_all_hosts_that_broke_off_are_named(server: Server, other: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = [Reply(body=BLOB, cut=1000), Reply(404)]
    other.script[BLOB_PATH] = errors(500, "UNKNOWN", "disk is full")
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    with pytest.raises(RegistryError) as caught:
        read(opened(settings), app(other))
    what = f"{WHAT} of {app(other)}"
    assert caught.value.message == (
        f"{app(other)}: registry {server.address}: not found: {what}; "
        f"registry {other.address}: status 500 for {what} (disk is full), tried 5 times"
    )


def test_more_than_was_promised_is_refused(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(body=BLOB + b"!", unsized=True)
    with pytest.raises(IntegrityError) as caught:
        read(opened(), app(server))
    assert caught.value.message == (
        f"{WHAT} of {app(server)} from {server.address}: "
        f"more than the {SIZE} bytes of {LAYER.digest}"
    )


def test_what_follows_the_last_byte_does_not_matter(server: Server, opened: Open) -> None:
    lies = {"Content-Length": str(SIZE - 1000 + 7)}
    headers = {"Content-Range": f"bytes 1000-{SIZE - 1}/{SIZE}", **lies}
    server.script[BLOB_PATH] = [
        Reply(body=BLOB, cut=1000),
        Reply(206, BLOB[1000:], headers, cut=SIZE),
    ]
    assert read(opened(), app(server)) == BLOB


# Parts.


def test_a_part_is_what_was_asked_for(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges()
    source = opened()
    assert part(source, server, 10, 20) == BLOB[10:20]
    assert part(source, server, 0, 1) == BLOB[:1]
    assert part(source, server, SIZE - 1, SIZE) == BLOB[-1:]
    assert ranges(server) == ["bytes=10-19", "bytes=0-0", f"bytes={SIZE - 1}-{SIZE - 1}"]
    assert server.connections == 1


def test_all_of_a_blob_is_a_plain_get(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(body=BLOB)
    assert part(opened(), server, 0, SIZE) == BLOB
    assert ranges(server) == [None]


def test_no_part_is_asked_for_before_a_chunk_is(server: Server, opened: Open) -> None:
    opened().part(app(server), LAYER, 1, 2)
    assert server.asked == []


def test_a_part_goes_on_where_it_was_cut(server: Server, opened: Open) -> None:
    server.guards[BLOB_PATH] = knows_ranges({"cut": 1000}, {"unsized": True, "cut": 500})
    assert part(opened(), server, 100, 5000) == BLOB[100:5000]
    assert ranges(server) == ["bytes=100-4999", "bytes=1100-4999", "bytes=1600-4999"]


def test_a_part_of_a_server_without_ranges_is_none(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(body=BLOB)
    with pytest.raises(RangeIgnored) as caught:
        next(iter(opened().part(app(server), LAYER, 100, 5000)))
    assert caught.value.message == (
        f"registry {server.address}: {WHAT} of {app(server)} comes as a whole only"
    )


@pytest.mark.parametrize(
    "header",
    [
        f"bytes 0-4999/{SIZE}",
        f"bytes 100-4998/{SIZE}",
        f"bytes 100-5000/{SIZE}",
        "bytes */5000",
        "",
    ],
)
def test_another_part_is_refused(server: Server, opened: Open, header: str) -> None:
    server.script[BLOB_PATH] = Reply(206, BLOB[100:5000], {"Content-Range": header})
    with pytest.raises(RegistryError) as caught:
        part(opened(), server, 100, 5000)
    assert caught.value.message == (
        f"registry {server.address}: {WHAT} of {app(server)} from byte 100 "
        f"comes as the range '{header}'"
    )
    assert len(server.asked) == 1


def test_a_part_where_all_was_asked_for_is_refused(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(206, BLOB, {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"})
    with pytest.raises(RegistryError, match="comes as the range 'bytes 0-"):
        read(opened(), app(server))


@pytest.mark.parametrize("total", ["*", str(SIZE)])
def test_a_part_of_any_blob_of_the_size_is_taken(server: Server, opened: Open, total: str) -> None:
    headers = {"Content-Range": f"bytes 100-4999/{total}"}
    server.script[BLOB_PATH] = Reply(206, BLOB[100:5000], headers)
    assert part(opened(), server, 100, 5000) == BLOB[100:5000]


def test_a_part_of_a_blob_of_another_size_is_refused(server: Server, opened: Open) -> None:
    headers = {"Content-Range": "bytes 100-4999/5000"}
    server.script[BLOB_PATH] = Reply(206, BLOB[100:5000], headers)
    with pytest.raises(IntegrityError, match=f"5000 bytes, not the {SIZE} of {LAYER.digest}"):
        part(opened(), server, 100, 5000)


def test_more_than_the_part_is_refused(server: Server, opened: Open) -> None:
    headers = {"Content-Range": f"bytes 100-4999/{SIZE}"}
    server.script[BLOB_PATH] = Reply(206, BLOB[100:5001], headers)
    with pytest.raises(IntegrityError, match="more than"):
        part(opened(), server, 100, 5000)


def test_no_range_is_an_error(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(416)
    with pytest.raises(RegistryError, match="status 416 for blob") as caught:
        part(opened(), server, 100, 5000)
    assert caught.value.status == 416


def test_a_part_comes_through_a_mirror(server: Server, other: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(404)
    other.guards[BLOB_PATH] = knows_ranges()
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    assert part(opened(settings), other, 100, 5000) == BLOB[100:5000]
