"""Lists of tags in pages, or not at all: the registry of the bed gives each list whole."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from airgapbuild.errors import RegistryError
from airgapbuild.floating import versioned
from airgapbuild.lockfile import Lock
from airgapbuild.manifest import RegistrySettings, parse_manifest
from airgapbuild.oci.reference import parse_reference
from airgapbuild.outdated import outdated
from airgapbuild.registry.listing import MAX_PAGES
from airgapbuild.resolve import resolve
from airgapbuild.versions import MAX_CANDIDATES
from tests.engines.registry import Registry
from tests.integration.faults import Asked, Reply, Server, document, errors
from tests.integration.reading import GOOD, Notes, Open, app
from tests.support.memory import MemorySource

LIST = "/v2/app/tags/list"


def pages(server: Server, tags: list[str], size: int, link: str) -> None:
    """Serves pages of a list; `link` is the Link header of all but the last, with `{last}`."""

    def page(asked: Asked) -> Reply:
        last = parse_qs(urlsplit(asked.path).query).get("last", [""])[0]
        rest = [tag for tag in tags if tag > last]
        given, more = rest[:size], rest[size:]
        headers = {"Link": link.format(last=given[-1])} if more else {}
        return document(200, {"name": "app", "tags": given}, headers)

    server.guards[LIST] = page


@pytest.mark.parametrize(
    "link",
    [
        "</v2/app/tags/list?n=2&last={last}>; rel=next",
        '<https://evil.test/steal?last={last}>; rel="next"',
        '</first>; rel="prev", <?last={last}#top>; title="a; b"; rel="next"',
    ],
)
def test_all_pages_are_read_of_the_host_that_was_asked(
    server: Server, opened: Open, link: str
) -> None:
    tags = ["a", "b", "c", "d", "e"]
    pages(server, tags, 2, link)
    assert opened().tags(app(server)) == tuple(tags)
    assert len(server.asked) == 3
    assert server.paths()[0] == f"{LIST}?n=1000"


def test_a_list_without_an_end_is_left_with_a_note(server: Server, opened: Open) -> None:
    again = {"Link": f"<{LIST}?last=a>; rel=next"}
    server.script[LIST] = document(200, {"tags": ["a"]}, again)
    notes = Notes()
    assert len(opened(progress=notes).tags(app(server))) == MAX_PAGES
    assert notes.notes == [
        f"the tags of {server.address}/app: only the first {MAX_PAGES} were read"
    ]


@pytest.mark.parametrize("body", [b'{"name": "app", "tags": null}', b'{"tags": []}'])
def test_a_repository_may_have_no_tags(server: Server, opened: Open, body: bytes) -> None:
    server.script[LIST] = Reply(body=body)
    assert opened().tags(app(server)) == ()


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"tags": "a"}', b'{"tags": [1]}', b"[" * 100_000]
)
def test_what_is_no_list_is_said(server: Server, opened: Open, body: bytes) -> None:
    server.script[LIST] = Reply(body=body)
    with pytest.raises(RegistryError) as caught:
        opened().tags(app(server))
    assert caught.value.message == (
        f"registry {server.address}: the tags of {server.address}/app came as something else"
    )


def test_a_mirror_that_lists_no_tags_is_passed_over(
    server: Server, other: Server, opened: Open
) -> None:
    other.script[LIST] = document(200, {"tags": ["1"]})
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    assert opened(settings).tags(app(other)) == ("1",)


MANIFEST = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.one]
ref = "{server}/app:1"
role = "tool"
"""


def locked(server: Server) -> Lock:
    """A lock of what the server has: an image without an index."""
    memory = MemorySource()
    top = memory.publish(f"{server.address}/app:1", "linux/amd64", index=False)
    text = MANIFEST.format(server=server.address)
    kind = {"Content-Type": top.descriptor.media_type}
    for at in ("1", top.descriptor.digest):
        server.script[f"/v2/app/manifests/{at}"] = Reply(body=top.raw, headers=kind)
    return resolve(parse_manifest(text.encode(), "m", folder=Path()), memory)


@pytest.mark.parametrize("status", [404, 405])
def test_a_registry_that_lists_no_tags_has_no_known_newer_versions(
    server: Server, opened: Open, status: int
) -> None:
    lock = locked(server)
    server.script[LIST] = errors(status, "UNSUPPORTED", "no lists here")
    [standing] = outdated(lock, opened())
    assert (standing.newer, standing.error, standing.served) == (None, None, True)
    assert versioned(lock.image[0], opened()) is None


def test_a_list_that_is_refused_is_an_error_of_its_image(server: Server, opened: Open) -> None:
    lock = locked(server)
    server.script[LIST] = errors(403, "DENIED", "no")
    [standing] = outdated(lock, opened())
    assert standing.error is not None
    assert standing.error.message == (
        f"registry {server.address}: access to the tags of {server.address}/app denied (no)"
    )
    assert not standing.untagged
    assert versioned(lock.image[0], opened()) is None


def test_few_manifests_are_asked_for_to_name_a_floating_tag(server: Server, opened: Open) -> None:
    image = locked(server).image[0]
    server.script[LIST] = document(200, {"tags": [f"1.{minor}.0" for minor in range(100)]})
    server.guards["/v2/app/manifests/1."] = lambda _: GOOD
    assert versioned(image, opened()) is None
    asked = [path.rpartition("/")[2] for path in server.paths()[1:]]
    assert asked == [f"1.{minor}.0" for minor in range(99, 99 - MAX_CANDIDATES, -1)]


def test_tags_are_listed_with_a_token(token_registry: Registry, opened: Open) -> None:
    reference = parse_reference(f"{token_registry.address}/docker/dockerfile:1.19")
    assert set(opened().tags(reference)) == {"1.19", "1"}
