"""What goes wrong while blobs and manifests are sent, over a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Self

import pytest

from airgapbuild.credentials import ANONYMOUS, Credentials
from airgapbuild.errors import IntegrityError, RegistryError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.content import OCI_MANIFEST, content
from airgapbuild.oci.digest import verified
from airgapbuild.progress import SILENT
from airgapbuild.registry import RegistryTarget, Remote, Retries, Timeouts
from tests.engines.registry import Registry
from tests.integration.faults import Server, challenge, document
from tests.integration.reading import ALICE, BLOB, LAYER, PATIENT, Notes, app, login
from tests.integration.targets import changes, there
from tests.integration.uploads import Uploads, also, lost, mounted, partly, short, status

if TYPE_CHECKING:
    from airgapbuild.oci.reference import Reference
    from tests.engines.parts.part import Shelf

SIZE = len(BLOB)
THIRD = SIZE // 3


def read() -> Iterator[bytes]:
    """The blob, verified as a bundle's is, in chunks that fit no request."""
    chunks = (BLOB[at : at + 70_001] for at in range(0, SIZE, 70_001))
    return verified(chunks, LAYER.digest, SIZE, "it")


def put(
    reference: Reference,
    *,
    chunk: int = THIRD,
    source: Reference | None = None,
    credentials: Credentials = ANONYMOUS,
    timeouts: Timeouts = PATIENT,
    progress: Notes | None = None,
) -> bool:
    remote = Remote(credentials, timeouts=timeouts, progress=progress or Notes())
    its = RegistrySettings()
    with closing(RegistryTarget(reference.registry, its, remote, chunk=chunk)) as target:
        return target.put(reference, LAYER, read, SILENT.task("it"), source)


def refused(reference: Reference, *, chunk: int = THIRD) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        put(reference, chunk=chunk)
    return caught.value


def span(start: int, stop: int) -> str:
    return f"PATCH {start}-{stop - 1}"


CHUNKS = [span(0, THIRD), span(THIRD, 2 * THIRD), span(2 * THIRD, SIZE)]


def test_a_small_blob_goes_in_one_request(server: Server) -> None:
    uploads = Uploads(server)
    assert put(app(server), chunk=SIZE)
    assert uploads.said == ["POST 0", f"PUT {SIZE}"]
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_a_large_blob_goes_in_chunks(server: Server) -> None:
    uploads = Uploads(server)
    assert put(app(server))
    assert uploads.said == ["POST 0", *CHUNKS, "PUT 0"]
    assert uploads.blobs == {LAYER.digest: BLOB}
    kinds = {it.headers["content-type"] for it in server.asked if it.method != "POST"}
    assert kinds == {"application/octet-stream"}


@pytest.mark.parametrize("taken", [0, 1000, THIRD])
def test_a_cut_chunk_goes_on_where_it_was(server: Server, taken: int) -> None:
    uploads = Uploads(server, ("PATCH", lambda *_: None), ("PATCH", partly(taken)))
    assert put(app(server))
    begin = [span(taken, taken + THIRD)] if taken < THIRD else []
    assert uploads.said[:4] == ["POST 0", CHUNKS[0], "GET 0", *(begin or CHUNKS[1:2])]
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_a_cut_single_request_goes_on_where_it_was(server: Server) -> None:
    uploads = Uploads(server, ("PUT", partly(1000)))
    assert put(app(server), chunk=SIZE)
    assert uploads.said == ["POST 0", f"PUT {SIZE}", "GET 0", span(1000, SIZE), "PUT 0"]
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_fewer_bytes_than_were_sent_are_gone_on_from(server: Server) -> None:
    uploads = Uploads(server, ("PATCH", short(500)))
    assert put(app(server))
    assert uploads.said[1:3] == [CHUNKS[0], span(500, 500 + THIRD)]
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_bytes_out_of_order_are_asked_about_before_the_upload_begins_anew(server: Server) -> None:
    uploads = Uploads(server, ("PATCH", status(416)), ("PATCH", status(416)))
    assert put(app(server))
    tried = ["POST 0", CHUNKS[0], "GET 0", CHUNKS[0], "HEAD 0"]
    assert uploads.said == [*tried, "POST 0", *CHUNKS, "PUT 0"]


def test_an_upload_that_is_lost_begins_anew(server: Server) -> None:
    uploads = Uploads(server, ("PATCH", status(404)))
    assert put(app(server))
    assert uploads.said == ["POST 0", CHUNKS[0], "HEAD 0", "POST 0", *CHUNKS, "PUT 0"]


def test_an_upload_that_cannot_be_looked_up_begins_anew(server: Server) -> None:
    uploads = Uploads(server, ("PATCH", status(503)), ("GET", status(405)))
    assert put(app(server))
    assert uploads.said == ["POST 0", CHUNKS[0], "GET 0", "HEAD 0", "POST 0", *CHUNKS, "PUT 0"]


def test_where_only_the_last_answer_is_lost_nothing_is_sent_again(server: Server) -> None:
    uploads = Uploads(server, ("PUT", lost))
    assert put(app(server), chunk=SIZE)
    assert uploads.said == ["POST 0", f"PUT {SIZE}", "GET 0", "HEAD 0"]


@pytest.mark.parametrize("code", [400, 405, 415, 501])
def test_a_registry_without_chunks_gets_the_whole(server: Server, code: int) -> None:
    uploads = Uploads(server, ("PATCH", status(code)))
    assert put(app(server))
    assert uploads.said == ["POST 0", CHUNKS[0], "HEAD 0", "POST 0", f"PUT {SIZE}"]
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_chunks_are_no_smaller_than_the_registry_wants(server: Server) -> None:
    uploads = Uploads(server, ("POST", also(OCI_Chunk_Min_Length=str(2 * THIRD))))
    assert put(app(server))
    assert uploads.said[1:3] == [span(0, 2 * THIRD), span(2 * THIRD, SIZE)]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_passes_is_waited_for(server: Server, method: str, code: int) -> None:
    waits: list[float] = []
    timeouts = Timeouts(retries=Retries(sleep=waits.append))
    uploads = Uploads(server, (method, status(code, Retry_After="7")))
    assert put(app(server), timeouts=timeouts)
    assert [round(it) for it in waits] == [7]
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_tries_come_to_an_end(server: Server) -> None:
    Uploads(server, *[("PUT", status(503))] * 9)
    error = refused(app(server))
    assert error.message.endswith("(injected), tried 5 times")
    assert error.status == 503


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        (403, "access to blob", "as a user who may push it"),
        (404, "no place for blob", "a project or repository to be made first"),
        (405, "is not taken (injected)", "read-only"),
        (413, "is too large (injected)", "client_max_body_size"),
    ],
)
def test_a_refusal_is_in_the_registrys_own_words(
    server: Server, code: int, said: str, hint: str
) -> None:
    Uploads(server, ("POST", status(code)))
    error = refused(app(server))
    assert said in error.message
    assert "(injected)" in error.message
    assert hint in (error.hint or "")


def test_a_quota_is_said_where_the_blob_is_ended(server: Server) -> None:
    Uploads(server, ("PUT", status(403)))
    assert "access to blob" in refused(app(server)).message


def test_a_registry_that_stores_something_else_is_told(server: Server) -> None:
    Uploads(server, ("PUT", also(Docker_Content_Digest="sha256:other")))
    with pytest.raises(IntegrityError, match="stored sha256:other"):
        put(app(server))


def test_more_bytes_than_there_are_are_asked_about(server: Server) -> None:
    uploads = Uploads(server, ("PATCH", also(Range=f"0-{SIZE}")))
    assert put(app(server))
    assert uploads.said == ["POST 0", CHUNKS[0], "GET 0", *CHUNKS[1:], "PUT 0"]
    Uploads(server, *[("PATCH", also(Range=f"0-{SIZE}")), ("GET", also(Range=f"0-{SIZE}"))] * 9)
    assert "it has more of blob" in refused(app(server)).message


def test_a_registry_that_never_tells_how_much_it_took_is_asked(server: Server) -> None:
    uploads = Uploads(server, *[("PATCH", also(Range="0-0"))] * 3)
    assert put(app(server))
    assert uploads.said.count("GET 0") == 3
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_a_registry_that_takes_nothing_is_not_tried_for_ever(server: Server) -> None:
    Uploads(server, *[("PATCH", short(0))] * 99)
    assert "it takes nothing of blob" in refused(app(server)).message


def test_no_place_is_no_place(server: Server) -> None:
    Uploads(server, ("POST", also(Location="")))
    assert "it names no place to upload blob" in refused(app(server)).message


def test_a_mount_takes_no_bytes(server: Server) -> None:
    uploads = Uploads(server, ("POST", mounted))
    assert not put(app(server), source=there(server, "base"))
    assert uploads.said == ["POST 0"]
    assert server.paths() == [f"/v2/app/blobs/uploads/?mount={LAYER.digest}&from=base"]


@pytest.mark.parametrize("code", [None, 400, 401, 403, 404, 405])
def test_a_mount_that_is_refused_is_an_upload(server: Server, code: int | None) -> None:
    uploads = Uploads(server, *([("POST", status(code))] if code else []))
    assert put(app(server), chunk=SIZE, source=there(server, "base"))
    assert uploads.blobs == {LAYER.digest: BLOB}


def test_a_login_stays_with_its_registry(server: Server, other: Server) -> None:
    place = f"{other.url}/v2/app/blobs/uploads/u0"
    there_, here = Uploads(other), Uploads(server, ("POST", also(Location=place)))
    there_.begun["u0"] = b""
    server.guards = {
        "/v2/": lambda asked: None if asked.authorization else challenge('Basic realm="x"'),
        "/v2/app": here,
    }
    assert put(app(server), chunk=SIZE, credentials=login(ALICE, server))
    assert there_.blobs == {LAYER.digest: BLOB}
    assert [it.authorization for it in other.asked] == [None]


def test_an_upload_does_not_leave_tls(tls_server: Server, server: Server, ca: object) -> None:
    del ca
    Uploads(tls_server, ("POST", also(Location=f"{server.url}/v2/app/blobs/uploads/u0")))
    remote = Remote(ANONYMOUS, timeouts=PATIENT)
    its = RegistrySettings(insecure=True)
    with (
        closing(RegistryTarget(tls_server.address, its, remote)) as target,
        pytest.raises(RegistryError, match="away from https; refused"),
    ):
        target.put(app(tls_server), LAYER, read, SILENT.task("it"))
    assert server.asked == []


def test_a_token_whose_time_is_over_is_fetched_before_bytes_are_sent(server: Server) -> None:
    uploads = Uploads(server)
    tokens = [document(200, {"token": f"t{n}", "expires_in": 0.000001}) for n in range(9)]
    server.script["/token"] = tokens
    realm = f'Bearer realm="{server.url}/token"'
    server.guards = {
        "/v2/": lambda asked: uploads(asked) if asked.authorization else challenge(realm)
    }
    assert put(app(server))
    assert uploads.said.count(CHUNKS[0]) == 1
    scopes = {it.path.partition("scope=")[2] for it in server.asked if it.path.startswith("/tok")}
    assert scopes == {"repository%3Aapp%3Apull%2Cpush"}


def test_wrong_bytes_are_never_whole_in_the_registry(server: Server) -> None:
    uploads = Uploads(server)
    remote = Remote(ANONYMOUS, timeouts=PATIENT)
    wrong = BLOB[:-1] + b"?"

    def others() -> Iterator[bytes]:
        chunks = iter([wrong[:1000], wrong[1000:]])
        return verified(chunks, LAYER.digest, SIZE, "the tarball")

    with (
        closing(RegistryTarget(server.address, RegistrySettings(), remote)) as target,
        pytest.raises(IntegrityError, match="the tarball: expected"),
    ):
        target.put(app(server), LAYER, others, SILENT.task("it"))
    assert uploads.blobs == {}


def test_a_manifest_that_is_stored_as_another_is_told(server: Server) -> None:
    Uploads(server, ("PUT", also(Docker_Content_Digest="sha256:other")))
    made = content(b"{}", OCI_MANIFEST)
    with (
        closing(RegistryTarget(server.address, RegistrySettings(), Remote(ANONYMOUS))) as target,
        pytest.raises(IntegrityError, match=f"sent {made.descriptor.digest}, stored sha256:other"),
    ):
        target.put_manifest(app(server), made)


def test_a_rejected_manifest_is_in_the_registrys_own_words(server: Server) -> None:
    Uploads(server, ("PUT", status(400)))
    with (
        closing(RegistryTarget(server.address, RegistrySettings(), Remote(ANONYMOUS))) as target,
        pytest.raises(RegistryError, match=r"app:1 is refused \(injected\)"),
    ):
        target.put_manifest(app(server), content(b"{}", OCI_MANIFEST))


@pytest.mark.parametrize(("newest", "begun"), [(False, 2), (True, 1)])
def test_a_real_registry_is_gone_on_with_after_a_cut(bed: Shelf, newest: bool, begun: int) -> None:
    # 2.8 gives up an upload that was cut within a chunk: by its state it has other bytes.
    with (
        Registry.start(bed, writable=True, empty=True, newest=newest) as registry,
        Cutting(registry.address, 200_000) as way,
    ):
        assert put(there(way, "app"), chunk=SIZE - 1, timeouts=Timeouts())
        done = changes(registry, "app")
    assert way.cuts == 1
    assert sum(it.startswith("POST") for it in done) == begun


class Cutting:
    """The way to a registry, on which the first connection ends after so many bytes."""

    def __init__(self, registry: str, after: int) -> None:
        host, _, port = registry.partition(":")
        self._registry = (host, int(port))
        self._after = after
        self.cuts = 0

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._registry) as registry:
            back = threading.Thread(target=self._back, args=(registry, client), daemon=True)
            back.start()
            passed = 0
            with suppress(OSError):
                while chunk := client.recv(1 << 16):
                    registry.sendall(chunk)
                    passed += len(chunk)
                    if not self.cuts and passed > self._after:
                        self.cuts += 1
                        break
            for side in (registry, client):
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
            back.join()

    def _back(self, registry: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while chunk := registry.recv(1 << 16):
                client.sendall(chunk)
