from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from airgapbuild.errors import IntegrityError, RegistryError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.content import OCI_INDEX, OCI_MANIFEST
from airgapbuild.oci.digest import Digest, digest_of
from airgapbuild.oci.reference import parse_reference
from tests.integration.faults import Reply, Script, Server, errors
from tests.integration.reading import GOOD, MANIFEST, Open, app

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECT = digest_of(b"subject")
TAG = SUBJECT.replace(":", "-")
API = f"/v2/app/referrers/{SUBJECT}"
FALLBACK = f"/v2/app/manifests/{TAG}"


def listing(*names: bytes, link: str | None = None) -> Reply:
    entries = [{"mediaType": OCI_MANIFEST, "digest": digest_of(it), "size": 1} for it in names]
    body = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    headers = {"Content-Type": OCI_INDEX, **({"Link": link} if link else {})}
    return Reply(body=body, headers=headers)


def referrers(opened: Open, server: Server, subject: Digest = SUBJECT) -> list[str]:
    return [it.digest for it in opened().referrers(app(server), subject)]


def test_the_api_says_what_refers_to_a_digest(server: Server, opened: Open) -> None:
    server.script[API] = listing(b"one", b"two")
    assert referrers(opened, server) == [digest_of(b"one"), digest_of(b"two")]
    [asked] = server.asked
    assert asked.headers["accept"] == OCI_INDEX


@pytest.mark.parametrize(
    "link",
    [
        f'<{API}?n=1&last=x>; rel="next"',
        f"<https://elsewhere.invalid{API}?n=1&last=x>;rel=next",
        '<?n=1&last=x>; rel="next"',
    ],
)
def test_of_a_next_page_only_the_query_counts(server: Server, opened: Open, link: str) -> None:
    server.script[API] = [listing(b"one", link=link), listing(b"one", b"two")]
    assert referrers(opened, server) == [digest_of(b"one"), digest_of(b"two")]
    assert server.paths() == [API, f"{API}?n=1&last=x"]


def test_pages_without_end_are_an_error(server: Server, opened: Open) -> None:
    server.script[API] = listing(b"one", link='<?n=1>; rel="next"')
    with pytest.raises(RegistryError, match="more than 16 pages"):
        referrers(opened, server)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_without_the_api_the_fallback_tag_is_asked_and_the_api_no_more(
    server: Server, opened: Open, status: int
) -> None:
    server.script[API] = errors(status, "UNSUPPORTED", "no")
    server.script[FALLBACK] = listing(b"one")
    source = opened()
    for _ in range(2):
        [found] = source.referrers(app(server), SUBJECT)
        assert found.digest == digest_of(b"one")
    assert server.paths() == [API, FALLBACK, FALLBACK]


def test_neither_api_nor_tag_is_nothing(server: Server, opened: Open) -> None:
    assert referrers(opened, server) == []
    assert server.paths() == [API, FALLBACK]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (errors(429, "TOOMANYREQUESTS", "slow down"), RegistryError),
        (errors(500, "UNKNOWN", "broken"), RegistryError),
        (Reply(body=b"<html>", headers={"Content-Type": OCI_INDEX}), IntegrityError),
        (GOOD, IntegrityError),
        (Reply(body=bytes(5 << 20), headers={"Content-Type": OCI_INDEX}), RegistryError),
    ],
    ids=["429", "500", "no JSON", "no index", "too large"],
)
def test_what_is_no_answer_is_not_taken_for_nothing(
    server: Server, opened: Open, reply: Script, kind: type[Exception]
) -> None:
    server.script[API] = reply
    with pytest.raises(kind):
        referrers(opened, server)


def test_what_there_need_not_be_is_found_or_not(server: Server, opened: Open) -> None:
    server.script["/v2/app/manifests/there"] = GOOD
    found = opened().find(app(server, ":there"))
    assert found is not None
    assert found.raw == MANIFEST
    assert opened().find(app(server, ":elsewhere")) is None


@pytest.fixture
def unused() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"localhost:{bound.getsockname()[1]}"


def test_a_mirror_that_says_no_is_enough_where_nobody_else_can_be_asked(
    server: Server, opened: Open, unused: str
) -> None:
    source = opened({unused: RegistrySettings(mirrors=(server.address,))})
    reference = parse_reference(f"{unused}/app:1")
    assert source.referrers(reference, SUBJECT) == ()
    assert source.find(reference) is None
    with pytest.raises(RegistryError, match="connection refused"):
        source.manifest(reference)


def test_where_nobody_can_be_asked_nothing_is_not_the_answer(opened: Open, unused: str) -> None:
    reference = parse_reference(f"{unused}/app:1")
    with pytest.raises(RegistryError, match="connection refused"):
        opened().referrers(reference, SUBJECT)
    with pytest.raises(RegistryError, match="connection refused"):
        opened().find(reference)


def test_a_mirror_without_signatures_leaves_it_to_the_registry(
    server: Server, other: Server, opened: Open
) -> None:
    other.script[API] = listing(b"one")
    source = opened({other.address: RegistrySettings(mirrors=(server.address,))})
    [found] = source.referrers(app(other), SUBJECT)
    assert found.digest == digest_of(b"one")
