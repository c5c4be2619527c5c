from __future__ import annotations

import pytest

from airgapbuild.errors import IntegrityError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.content import DOCKER_MANIFEST, MAX_DOCUMENT, Content, Descriptor
from airgapbuild.oci.digest import digest_of
from tests.integration.faults import Reply, Server
from tests.integration.reading import (
    BLOB,
    BLOB_PATH,
    DOCUMENT,
    GOOD,
    LAYER,
    MANIFEST,
    Notes,
    Open,
    app,
    read,
    refused,
)


def test_a_document_is_what_was_served(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = GOOD
    notes = Notes()
    document = opened(progress=notes).manifest(app(server))
    expected = Descriptor(
        media_type=DOCKER_MANIFEST, digest=digest_of(MANIFEST), size=len(MANIFEST)
    )
    assert document == Content(expected, MANIFEST)
    (asked,) = server.asked
    assert asked.headers["accept"].count("application/vnd.") == 4
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"].startswith("airgapbuild/")
    assert asked.authorization is None
    assert notes.details == [f"{server.address}/app:1: from {server.address}"]


def test_the_digest_decides_where_there_is_a_tag_too(server: Server, opened: Open) -> None:
    digest = digest_of(MANIFEST)
    server.script[f"/v2/app/manifests/{digest}"] = GOOD
    assert opened().manifest(app(server, f":1@{digest}")).raw == MANIFEST


def test_a_document_of_another_digest_is_refused(server: Server, opened: Open) -> None:
    digest = digest_of(b"another")
    server.script[f"/v2/app/manifests/{digest}"] = GOOD
    with pytest.raises(IntegrityError) as caught:
        opened().manifest(app(server, f"@{digest}"))
    assert caught.value.message == (
        f"{server.address}/app@{digest} from {server.address}: "
        f"expected {digest}, got {digest_of(MANIFEST)}"
    )


def test_a_tag_whose_bytes_are_not_those_of_the_header_is_refused(
    server: Server, opened: Open
) -> None:
    promised = digest_of(b"another")
    headers = {**GOOD.headers, "Docker-Content-Digest": promised}
    server.script[DOCUMENT] = Reply(body=MANIFEST, headers=headers)
    with pytest.raises(IntegrityError, match=f"expected {promised}, got sha256:"):
        opened().manifest(app(server))


def test_a_huge_document_is_not_read(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = Reply(body=bytes(MAX_DOCUMENT + 1), headers=GOOD.headers)
    assert refused(opened(), app(server)).message == (
        f"registry {server.address}: {server.address}/app:1 is more than 4 MiB, "
        "too large for a manifest"
    )


@pytest.mark.parametrize("suffix", ["json", "prettyjws"])
def test_schema_1_is_named(server: Server, opened: Open, suffix: str) -> None:
    media_type = f"application/vnd.docker.distribution.manifest.v1+{suffix}"
    server.script[DOCUMENT] = Reply(body=b"{}", headers={"Content-Type": media_type})
    error = refused(opened(), app(server))
    assert error.message == (
        f"registry {server.address}: {server.address}/app:1 is an image of the old schema 1, "
        "which no engine of today takes"
    )
    assert error.hint == "push it anew with any Docker of the last years"


def test_a_login_page_is_no_manifest(server: Server, opened: Open) -> None:
    server.script[DOCUMENT] = Reply(body=b"<html>", headers={"Content-Type": "text/html"})
    error = refused(opened(), app(server))
    assert error.message == (
        f"registry {server.address}: {server.address}/app:1 came as 'text/html', which is no image"
    )
    assert error.hint is not None
    assert error.hint.startswith(f"is {server.address} a registry, ")


def test_a_blob_is_read_and_its_connection_kept(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(body=BLOB)
    source = opened()
    assert read(source, app(server)) == read(source, app(server)) == BLOB
    assert server.connections == 1


def test_an_empty_blob_is_read(server: Server, opened: Open) -> None:
    empty = Descriptor(media_type="layer", digest=digest_of(b""), size=0)
    server.script[f"/v2/app/blobs/{empty.digest}"] = Reply()
    assert read(opened(), app(server), empty) == b""


def test_nothing_is_asked_before_a_chunk_is(server: Server, opened: Open) -> None:
    opened().blob(app(server), LAYER)
    assert server.asked == []


def test_closing_early_frees_the_connection(server: Server, opened: Open) -> None:
    server.script[BLOB_PATH] = Reply(body=BLOB)
    source = opened()
    chunks = source.blob(app(server), LAYER)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]  # a generator behind the protocol
    assert read(source, app(server)) == BLOB


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (BLOB[:-1] + b"!", f"expected {LAYER.digest}, got sha256:"),
        (BLOB + b"!", f"{LAYER.size + 1} bytes, not the {LAYER.size} of {LAYER.digest}"),
        (BLOB[:-1], f"{LAYER.size - 1} bytes, not the {LAYER.size} of {LAYER.digest}"),
    ],
)
def test_wrong_bytes_are_never_asked_for_elsewhere(
    server: Server, other: Server, opened: Open, body: bytes, why: str
) -> None:
    server.script[BLOB_PATH] = Reply(body=body)
    other.script[BLOB_PATH] = Reply(body=BLOB)
    settings = {other.address: RegistrySettings(mirrors=(server.address,))}
    with pytest.raises(IntegrityError) as caught:
        read(opened(settings), app(other))
    start = f"blob {LAYER.digest[7:19]} of {other.address}/app:1 from {server.address}: {why}"
    assert caught.value.message.startswith(start)
    assert other.asked == []
