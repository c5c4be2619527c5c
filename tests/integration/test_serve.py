"""`airgapbuild serve`, asked over real sockets."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.filling import fill
from airgapbuild.oci.content import OCI_INDEX, OCI_MANIFEST, parse_index, parse_manifest
from airgapbuild.oci.digest import digest_of, encoded
from airgapbuild.oci.layout import Layout
from airgapbuild.progress import SILENT
from airgapbuild.supply import Supply
from tests.engines import pki
from tests.support.memory import EMPTY
from tests.support.program import PROGRAM, airgapbuild, document, environment
from tests.support.project import Project
from tests.support.serving import Serving, serving
from tests.support.shelf import descriptor_of, shelve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.oci.content import Content
    from airgapbuild.oci.digest import Digest

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "kit:1"
role = "tool"
tags = ["kit:stable", "kit:b", "corp/kit:1"]
[images.python]
ref = "quay.io/library/python:1"
role = "base"
"""
HUBS = '[images.hubs]\nref = "python:3"\nrole = "base"\n'
BOTH = ("linux/amd64", "linux/arm64")
SIGNATURE = "application/vnd.example.signature"
BIG = os.urandom((9 << 20) + 12_345)
"""Of three frames, none of whose edges is a round number in it."""
NINES = "9" * 5000
"""More digits than Python makes a number of."""
SMALL_PARTS = Packaging(part_size=5 << 20)


def made(folder: Path, text: str = TEXT) -> Project:
    project = Project(folder, text)
    kit = project.source.publish("kit:1", *BOTH, layers=(BIG, b"kit"))
    project.source.publish("quay.io/library/python:1", *BOTH, layers=(b"quay", b"python"))
    project.source.publish("python:3", *BOTH, layers=(b"hub", b"python"))
    digest = kit.descriptor.digest
    project.source.attach("kit:1", digest, kind=SIGNATURE)
    project.source.attach("kit:1", digest, kind="application/vnd.example.sbom")
    project.source.attach("kit:1", digest, b"cosign", tag=f"{digest.replace(':', '-')}.sig")
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    found = made(tmp_path_factory.mktemp("served"))
    found.export("b")
    found.export("parts", packaging=SMALL_PARTS)
    return found


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Serving]:
    with serving(project.folder / "log", project.folder / "b") as running:
        yield running


def kit(project: Project) -> Content:
    return project.source.manifests["docker.io/library/kit:1"]


def platform(project: Project, number: int = 0) -> Content:
    """A platform's manifest of the image."""
    _, descriptor = parse_index(kit(project), "index").platforms[number]
    return project.source.manifests[f"docker.io/library/kit@{descriptor.digest}"]


def big(project: Project) -> Digest:
    """The large layer."""
    return parse_manifest(platform(project), "manifest").layers[0].digest


def errors(raw: bytes) -> list[str]:
    """The codes of an error in the specification's form."""
    found = json.loads(raw)["errors"]
    assert all(isinstance(it["message"], str) for it in found)
    return [it["code"] for it in found]


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_it_speaks_the_protocol(served: Serving, path: str) -> None:
    answer = served.ask(path)
    assert (answer.status, answer.data) == (200, b"{}\n")
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("name", ["library/kit", "docker.io/library/kit", "corp/kit"])
def test_a_manifest_is_the_registrys_own_by_tag_and_by_digest(
    served: Serving, project: Project, name: str
) -> None:
    top = kit(project)
    for what in ("1", top.descriptor.digest):
        answer = served.ask(f"/v2/{name}/manifests/{what}")
        assert (answer.status, answer.data) == (200, top.raw)
        assert answer.headers["Content-Type"] == OCI_INDEX
        assert answer.headers["Docker-Content-Digest"] == top.descriptor.digest
        assert answer.headers["ETag"] == f'"{top.descriptor.digest}"'
        head = served.ask(f"/v2/{name}/manifests/{what}", "HEAD")
        assert (head.status, head.data) == (200, b"")
        assert _but_date(head.headers) == _but_date(answer.headers)
    its = platform(project, 1)
    answer = served.ask(f"/v2/{name}/manifests/{its.descriptor.digest}")
    assert (answer.headers["Content-Type"], answer.data) == (OCI_MANIFEST, its.raw)


def _but_date(headers: object) -> dict[str, str]:
    found = dict(headers)  # type: ignore[call-overload] # of urllib3, which is a mapping
    return {name: value for name, value in found.items() if name.lower() != "date"}


def test_all_that_an_image_is_made_of_can_be_had(served: Serving, project: Project) -> None:
    for number in range(2):
        for blob in parse_manifest(platform(project, number), "manifest").blobs:
            answer = served.ask(f"/v2/library/kit/blobs/{blob.digest}")
            assert answer.data == project.source.blobs[blob.digest]
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert answer.headers["Docker-Content-Digest"] == blob.digest
            head = served.ask(f"/v2/library/kit/blobs/{blob.digest}", "HEAD", Range="bytes=1-2")
            assert (head.status, head.data) == (200, b"")
            assert int(head.headers["Content-Length"]) == blob.size


@pytest.mark.parametrize("bundle", ["b", "parts"])
def test_a_part_of_a_blob_is_the_same_bytes_wherever_it_lies(
    project: Project, tmp_path: Path, bundle: str
) -> None:
    digest = big(project)
    raw = project.source.blobs[digest]
    edges = [0, 1, 131_071, 131_072, (4 << 20) - 1, 4 << 20, 5 << 20, len(raw) - 1]
    with serving(tmp_path / "log", project.folder / bundle) as served:
        for start in edges:
            for stop in [edge for edge in (*edges, len(raw)) if edge > start]:
                asked = f"bytes={start}-{stop - 1}"
                answer = served.ask(f"/v2/library/kit/blobs/{digest}", Range=asked)
                assert (answer.status, answer.data == raw[start:stop]) == (206, True)
                expected = f"bytes {start}-{stop - 1}/{len(raw)}"
                assert answer.headers["Content-Range"] == expected
        whole = served.ask(f"/v2/library/kit/blobs/{digest}", Range="bytes=0-0,5-6")
        assert (whole.status, whole.data == raw) == (200, True)


def test_a_range_behind_the_end_is_416_with_the_size(served: Serving, project: Project) -> None:
    size = len(project.source.blobs[big(project)])
    path = f"/v2/library/kit/blobs/{big(project)}"
    answer = served.ask(path, Range=f"bytes={size}-")
    assert (answer.status, errors(answer.data)) == (416, ["SIZE_INVALID"])
    assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_who_has_it_already_is_sent_nothing(served: Serving, project: Project) -> None:
    digest = big(project)
    path = f"/v2/library/kit/blobs/{digest}"
    for known in (f'"{digest}"', f'W/"x", "{digest}"', "*"):
        answer = served.ask(path, If_None_Match=known)
        assert (answer.status, answer.data) == (304, b"")
        assert answer.headers["ETag"] == f'"{digest}"'
    part = served.ask(path, Range="bytes=1-1", If_Range=f'"{digest}"')
    assert part.status == 206
    whole = served.ask(path, Range="bytes=1-1", If_Range='"another"')
    assert (whole.status, len(whole.data)) == (200, len(project.source.blobs[digest]))
    top = kit(project).descriptor.digest
    assert served.ask("/v2/library/kit/manifests/1", If_None_Match=f'"{top}"').status == 304


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/library/kit/manifests/9", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/library/kit/manifests/{digest_of(b'x')}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/kit/manifests/sha256:12", 400, "DIGEST_INVALID"),
        ("/v2/library/kit/manifests/-x%00", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/other/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/Library/kit/manifests/1", 400, "NAME_INVALID"),
        ("/v2/library//kit/tags/list", 400, "NAME_INVALID"),
        ("/v2/../kit/tags/list", 400, "NAME_INVALID"),
        (f"/v2/library/kit/blobs/{digest_of(b'x')}", 404, "BLOB_UNKNOWN"),
        (f"/v2/library/kit/blobs/sha512:{'0' * 128}", 404, "BLOB_UNKNOWN"),
        ("/v2/library/kit/blobs/1", 400, "DIGEST_INVALID"),
        ("/v2/library/kit/blobs/sha256:..%2f..%2fetc", 404, "UNSUPPORTED"),
        ("/v2/library/kit/referrers/x", 400, "DIGEST_INVALID"),
        ("/v2/library/kit/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/_catalog?n=%D9%A2", 400, "PAGINATION_NUMBER_INVALID"),
        pytest.param(f"/v2/_catalog?n={NINES}", 400, "PAGINATION_NUMBER_INVALID", id="catalog"),
        pytest.param(
            f"/v2/library/kit/tags/list?n={NINES}", 400, "PAGINATION_NUMBER_INVALID", id="tags"
        ),
        ("/v2/library/kit/blobs/uploads/", 404, "UNSUPPORTED"),
        ("/", 404, "UNSUPPORTED"),
        ("/v1/search", 404, "UNSUPPORTED"),
    ],
)
def test_what_is_not_there_is_told_in_the_specifications_form(
    served: Serving, path: str, status: int, code: str
) -> None:
    with socket.create_connection(served.place) as raw:
        # Not by a client that would tidy the path up.
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (int(head.split()[1]), errors(body)) == (status, [code])
    assert b"content-type: application/json" in head


def test_a_blob_of_another_repository_is_not_there(served: Serving, project: Project) -> None:
    answer = served.ask(f"/v2/library/python/blobs/{big(project)}")
    assert (answer.status, errors(answer.data)) == (404, ["BLOB_UNKNOWN"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/library/kit/blobs/uploads/"),
        ("POST", f"/v2/library/kit/blobs/uploads/?mount={digest_of(b'x')}&from=a"),
        ("PATCH", "/v2/library/kit/blobs/uploads/1"),
        ("PUT", "/v2/library/kit/blobs/uploads/1"),
        ("PUT", "/v2/library/new/manifests/1"),
        ("DELETE", "/v2/library/kit/manifests/1"),
    ],
)
def test_nothing_can_be_put_there(served: Serving, method: str, path: str) -> None:
    answer = served.pool.request(method, served.url + path, body=b"x" * 100_000, retries=False)
    assert (answer.status, errors(answer.data)) == (405, ["UNSUPPORTED"])
    assert answer.headers["Allow"] == "GET, HEAD"
    assert served.ask("/v2/").status == 200


@pytest.mark.parametrize(
    "header",
    [
        f"Content-Length: {NINES}",
        f"Authorization: Basic {'A' * 5001}",
        "If-None-Match: " + '"' * 5000,
        f"If-Range: {NINES}",
        f"Range: bytes={NINES}-",
    ],
    ids=lambda header: header.partition(":")[0],
)
def test_whatever_is_sent_is_answered(served: Serving, project: Project, header: str) -> None:
    with socket.create_connection(served.place) as raw:
        path = f"/v2/library/kit/blobs/{big(project)}"
        lines = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n"
        raw.sendall(lines.encode())
        assert raw.recv(65536).split()[1] in {b"200", b"400"}


def walked(served: Serving, path: str, key: str) -> list[list[str]]:
    """All pages from a first one on, by the links between them."""
    pages = []
    while path:
        answer = served.ask(path)
        pages.append(json.loads(answer.data)[key])
        found = re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = found[1] if found else ""
    return pages


def test_tags_come_in_pages(served: Serving, project: Project) -> None:
    cosign = f"sha256-{encoded(kit(project).descriptor.digest)}.sig"
    tags = "/v2/library/kit/tags/list"
    assert json.loads(served.ask(tags).data) == {
        "name": "library/kit",
        "tags": ["1", "b", cosign, "stable"],
    }
    assert walked(served, f"{tags}?n=2", "tags") == [["1", "b"], [cosign, "stable"]]
    assert walked(served, f"{tags}?n=3", "tags") == [["1", "b", cosign], ["stable"]]
    assert walked(served, f"{tags}?last=a", "tags") == [["b", cosign, "stable"]]
    assert walked(served, f"{tags}?n=1&last=stable", "tags") == [[]]
    assert walked(served, f"{tags}?n=0", "tags") == [[]]


def test_the_catalog_comes_in_pages(served: Serving) -> None:
    every = ["corp/kit", "library/kit", "library/python"]
    assert walked(served, "/v2/_catalog", "repositories") == [every]
    assert walked(served, "/v2/_catalog?n=1", "repositories") == [[it] for it in every]
    hub = walked(served, "/v2/_catalog?ns=docker.io&n=1", "repositories")
    assert hub == [["corp/kit"], ["library/kit"]]


def test_referrers_are_listed_and_can_be_asked_for_by_type(
    served: Serving, project: Project
) -> None:
    digest = kit(project).descriptor.digest
    path = f"/v2/library/kit/referrers/{digest}"
    answer = served.ask(path)
    listed = json.loads(answer.data)
    assert answer.headers["Content-Type"] == listed["mediaType"] == OCI_INDEX
    assert {it["artifactType"] for it in listed["manifests"]} == {
        SIGNATURE,
        "application/vnd.example.sbom",
    }
    answer = served.ask(f"{path}?artifactType={SIGNATURE}")
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    [only] = json.loads(answer.data)["manifests"]
    manifest = served.ask(f"/v2/library/kit/manifests/{only['digest']}")
    assert (digest_of(manifest.data), len(manifest.data)) == (only["digest"], only["size"])
    [layer] = json.loads(manifest.data)["layers"]
    assert served.ask(f"/v2/library/kit/blobs/{layer['digest']}").data == b"signed"
    config = json.loads(manifest.data)["config"]
    assert (config["mediaType"], served.ask(f"/v2/library/kit/blobs/{config['digest']}").data) == (
        EMPTY,
        b"{}",
    )
    nothing = served.ask(f"/v2/library/kit/referrers/{digest_of(b'x')}")
    assert (nothing.status, json.loads(nothing.data)["manifests"]) == (200, [])


def test_images_of_several_registries_are_found(tmp_path: Path) -> None:
    project = made(tmp_path, TEXT + HUBS)
    project.export("b")
    hub = project.source.manifests["docker.io/library/python:3"].raw
    quay = project.source.manifests["quay.io/library/python:1"].raw
    with serving(tmp_path / "log", tmp_path / "b") as served:
        found = {
            path: served.ask(f"/v2/{path}").data
            for path in (
                "library/python/manifests/3",
                "library/python/manifests/3?ns=docker.io",
                "docker.io/library/python/manifests/3",
                "library/python/manifests/1?ns=quay.io",
                "quay.io/library/python/manifests/1",
            )
        }
        assert list(found.values()) == [hub, hub, hub, quay, quay]
        for path in (
            "library/python/manifests/1",
            "library/python/manifests/1?ns=docker.io",
            "library/python/manifests/3?ns=quay.io",
            "library/python/manifests/3?ns=ghcr.io",
        ):
            assert served.ask(f"/v2/{path}").status == 404
        names = ["corp/kit", "library/kit", "library/python", "quay.io/library/python"]
        assert walked(served, "/v2/_catalog", "repositories") == [names]
        assert "note: library/python means docker.io/library/python; quay.io" in (
            served.log.read_text()
        )


def test_it_says_where_it_is_and_what_it_has(served: Serving, project: Project) -> None:
    names = {it["name"]: it["path"] for it in served.document["images"]}
    assert names["quay.io/library/python:1"] == "library/python:1"
    assert names["docker.io/corp/kit:1"] == "corp/kit:1"
    digests = {it["digest"] for it in served.document["images"] if it["path"] == "library/kit:b"}
    assert digests == {kit(project).descriptor.digest}
    assert (served.document["version"], served.document["command"]) == (1, "serve")


def test_each_request_is_a_line_of_the_log(served: Serving) -> None:
    answer = served.ask("/v2/library/kit/tags/list?n=1&x", User_Agent='it "is" me')
    line = _logged(served, "?n=1&x")
    expected = (
        r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:]{8} \+0000\] "
        rf'"GET /v2/library/kit/tags/list\?n=1&x HTTP/1\.1" 200 {len(answer.data)} '
        """"-" "it 'is' me\""""
    )
    assert re.fullmatch(expected, line)


def _logged(served: Serving, mark: str) -> str:
    """The last line with this mark; it is written after the answer."""
    deadline = time.monotonic() + 10
    while not (lines := [it for it in served.log.read_text().splitlines() if mark in it]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return lines[-1]


def test_quiet_means_no_log(project: Project, tmp_path: Path) -> None:
    with serving(tmp_path / "log", "--quiet", project.folder / "b") as served:
        assert served.ask("/v2/").status == 200
        assert served.end() == 0
    assert (tmp_path / "log").read_text() == ""


def test_hundreds_pull_at_once(served: Serving, project: Project) -> None:
    digest = big(project)
    raw = project.source.blobs[digest]
    count = 200
    together = threading.Barrier(count)
    with ThreadPoolExecutor(count) as threads:

        def pull(_number: int) -> bool:
            with socket.create_connection(served.place) as one:
                together.wait(60)
                asked = (
                    f"GET /v2/library/kit/blobs/{digest} HTTP/1.0\r\nRange: bytes=-500000\r\n\r\n"
                )
                one.sendall(asked.encode())
                answer = b"".join(iter(lambda: one.recv(1 << 18), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            return b" 206 " in head and body == raw[-500_000:]

        assert list(threads.map(pull, range(count))) == [True] * count


def test_pulls_that_run_come_to_their_end(project: Project, tmp_path: Path) -> None:
    digest = big(project)
    raw = project.source.blobs[digest]
    with serving(tmp_path / "log", project.folder / "b") as served:
        with socket.create_connection(served.place) as slow:
            asked = f"GET /v2/library/kit/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n"
            slow.sendall(asked.encode())
            received = slow.recv(1000)
            served.process.terminate()
            with pytest.raises(OSError, match="refused"):
                _until_refused(served.place)
            assert served.process.poll() is None
            received += b"".join(iter(lambda: slow.recv(1 << 20), b""))
        assert received.partition(b"\r\n\r\n")[2] == raw
        assert served.process.wait(20) == 0


def _until_refused(place: tuple[str, int]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        socket.create_connection(place).close()
        time.sleep(0.01)


def test_who_goes_away_costs_nothing_more(project: Project, tmp_path: Path) -> None:
    with serving(tmp_path / "log", project.folder / "b") as served:
        with socket.socket() as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            gone.connect(served.place)
            asked = f"GET /v2/library/kit/blobs/{big(project)} HTTP/1.1\r\nHost: x\r\n\r\n"
            gone.sendall(asked.encode())
            gone.recv(1000)
        line = _logged(served, "/blobs/")
        assert int(line.split('" 200 ')[1].split()[0]) < len(BIG)
        assert served.end() == 0


def test_a_file_that_changes_meanwhile_is_served_no_more(tmp_path: Path) -> None:
    project = made(tmp_path)
    project.export("b")
    with serving(tmp_path / "log", tmp_path / "b") as served:
        path = f"/v2/library/kit/blobs/{big(project)}"
        assert served.ask(path).status == 200
        for tarball in (tmp_path / "b").glob("kit_*"):
            raw = tarball.read_bytes()
            tarball.write_bytes(raw[:-1] + b"x")
        answer = served.ask(path)
        assert (answer.status, errors(answer.data)) == (500, ["UNKNOWN"])
        assert "has changed since it was verified" in _logged(served, "note:")


def test_users_are_those_of_the_file(project: Project, tmp_path: Path) -> None:
    hashed = subprocess.run(
        ("perl", "-e", "print crypt('correct horse', '$2b$04$' . 'x' x 21 . 'u')"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    (tmp_path / "users").write_text(f"# people\n\nalice:{hashed}\n")
    with serving(tmp_path / "log", "--htpasswd", tmp_path / "users", project.folder / "b") as it:
        assert it.ask("/healthz").data == b"ok\n"
        for value in (
            *("", "Basic", "Basic !", "Bearer x", "Basic YWxpY2U=", _basic("bob:correct horse")),
            *(_basic("alice:wrong"), _basic("alice:" + "x" * 100), "Basic " + "gA=="),
        ):
            answer = it.ask("/v2/", Authorization=value)
            assert (answer.status, errors(answer.data)) == (401, ["UNAUTHORIZED"])
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="airgapbuild"'
        right = {"Authorization": _basic("alice:correct horse")}
        assert [it.ask("/v2/library/kit/tags/list", **right).status for _ in range(2)] == [200] * 2
        assert " - alice [" in _logged(it, "/tags/list")
        assert it.ask("/v2/", Authorization=_basic("alice:wrong")).status == 401


def test_an_unknown_user_costs_as_much_as_a_known_one(project: Project, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"alice:$2b$12${'.' * 53}\n")
    with serving(tmp_path / "log", "--htpasswd", tmp_path / "users", project.folder / "b") as it:
        spent = []
        for name in ("alice", "bob"):
            before = _processor_time(it.process.pid)
            assert it.ask("/v2/", Authorization=_basic(f"{name}:wrong")).status == 401
            spent.append(_processor_time(it.process.pid) - before)
        known, unknown = spent
        assert known / 2 < unknown < known * 2


def _processor_time(process: int) -> int:
    """What a process has had of it, in ticks; see proc_pid_stat(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def test_it_speaks_tls(project: Project, tmp_path: Path) -> None:
    ca = pki.authority(tmp_path)
    pair = pki.issue(ca, tmp_path)
    options = ("--cert", pair.cert, "--key", pair.key)
    with serving(tmp_path / "log", *options, project.folder / "b", ca=ca.cert) as served:
        assert served.url.startswith("https://127.0.0.1:")
        raw = project.source.blobs[big(project)]
        assert served.ask(f"/v2/library/kit/blobs/{big(project)}").data == raw
        assert served.end() == 0


def test_a_compact_bundle_is_served_from_a_cache(project: Project, tmp_path: Path) -> None:
    project.export("compact", packaging=Packaging(layers="compact"))
    cache = tmp_path / "shelf"
    arguments = ("--cache", cache, project.folder / "compact")
    pulled = []
    for _ in range(2):
        with serving(tmp_path / "log", *arguments) as served:
            top = served.ask("/v2/library/kit/manifests/1")
            manifest = json.loads(top.data)["manifests"][0]["digest"]
            layers = json.loads(served.ask(f"/v2/library/kit/manifests/{manifest}").data)["layers"]
            answers = [served.ask(f"/v2/library/kit/blobs/{it['digest']}") for it in layers]
            assert [digest_of(it.data) for it in answers] == [it["digest"] for it in layers]
            pulled.append(top.data)
            assert served.ask("/v2/library/python/manifests/1?ns=quay.io").status == 200
        if len(pulled) == 1:
            damaged = Layout(cache).blob_path(layers[0]["digest"])
            damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert pulled[0] == pulled[1]


def test_a_layout_is_served_as_it_is(tmp_path: Path) -> None:
    digest = shelve(tmp_path / "l", "quay.io/org/x:1", *BOTH, absent=("linux/arm64",))
    with serving(tmp_path / "log", tmp_path / "l") as served:
        top = served.ask("/v2/org/x/manifests/1?ns=quay.io")
        assert digest_of(top.data) == digest
        here, absent = (it["digest"] for it in json.loads(top.data)["manifests"])
        assert served.ask(f"/v2/org/x/manifests/{absent}").status == 404
        manifest = json.loads(served.ask(f"/v2/org/x/manifests/{here}").data)
        for blob in (manifest["config"], *manifest["layers"]):
            assert digest_of(served.ask(f"/v2/org/x/blobs/{blob['digest']}").data) == blob["digest"]


def test_referrers_of_a_layouts_image_are_those_of_its_bundle(tmp_path: Path) -> None:
    project = made(tmp_path)
    layout = loaded(project.bundle("b"), tmp_path / "l")
    asked = f"/v2/library/kit/referrers/{kit(project).descriptor.digest}"
    with serving(tmp_path / "log", tmp_path / "b") as served:
        listed = json.loads(served.ask(asked).data)
    stray = {"schemaVersion": 2, "subject": {"digest": kit(project).descriptor.digest}}
    empty = descriptor_of(b"{}").model_dump(by_alias=True, exclude_none=True)
    lacking = {**stray, "config": {**empty, "digest": digest_of(b"x")}, "layers": []}
    for other in (stray, lacking, {**stray, "manifests": [3]}):
        raw = json.dumps(other).encode()
        layout.put(descriptor_of(raw), iter([raw]))
    with serving(tmp_path / "log", layout.path) as served:
        assert _by_digest(json.loads(served.ask(asked).data)) == _by_digest(listed)
        assert len(listed["manifests"]) == 2
        for entry in listed["manifests"]:
            manifest = json.loads(served.ask(f"/v2/library/kit/manifests/{entry['digest']}").data)
            [layer] = manifest["layers"]
            assert served.ask(f"/v2/library/kit/blobs/{layer['digest']}").data == b"signed"


def loaded(bundle: Bundle, folder: Path) -> Layout:
    """A layout with all images of a bundle, as `load` fills it."""
    layout = Layout(folder)
    for image in bundle.lock.image:
        fill(Supply(bundle), layout, image, SILENT)
    return layout


def _by_digest(listed: dict[str, Any]) -> dict[str, Any]:
    return {**listed, "manifests": sorted(listed["manifests"], key=lambda it: it["digest"])}


def test_a_cache_that_cannot_be_filled_is_told(project: Project, tmp_path: Path) -> None:
    project.export("packed", packaging=Packaging(layers="compact"))
    (tmp_path / "file").write_text("")
    told = refused("--cache", tmp_path / "file" / "cache", project.folder / "packed")
    assert f"{tmp_path / 'file' / 'cache'}: Not a directory" in told
    assert "for serve by --cache" in told
    cache = tmp_path / "cache"
    arguments = ("serve", "--cache", cache, project.folder / "packed")
    done = airgapbuild(*arguments, prefix=("prlimit", "--fsize=1048576"))
    assert (done.returncode, f"{cache}: File too large" in done.stderr) == (2, True)


def test_a_differential_bundle_takes_the_rest_from_the_others(tmp_path: Path) -> None:
    project = made(tmp_path)
    project.export("old")
    new = project.source.publish("kit:1", *BOTH, layers=(BIG, b"newer"))
    project.export("new", tmp_path / "old")
    failed = airgapbuild("serve", "--listen", "127.0.0.1:0", tmp_path / "new")
    assert failed.returncode == 7
    assert "neither the bundle nor any other that was given has sha256:" in failed.stderr
    assert f"airgapbuild serve BASE {tmp_path / 'new'}" in failed.stderr
    with serving(tmp_path / "log", tmp_path / "old", tmp_path / "new") as served:
        assert served.ask("/v2/library/kit/manifests/1").data == new.raw
        path = f"/v2/library/kit/blobs/{big(project)}"
        assert served.ask(path).data == project.source.blobs[big(project)]


def test_what_is_damaged_is_not_served(tmp_path: Path) -> None:
    project = made(tmp_path)
    project.export("b")
    [tarball] = (tmp_path / "b").glob("kit_*amd64*")
    raw = bytearray(tarball.read_bytes())
    raw[len(raw) // 2] ^= 1
    tarball.write_bytes(raw)
    done = airgapbuild("serve", "--listen", "127.0.0.1:0", "--json", tmp_path / "b")
    assert done.returncode == 6
    assert tarball.name in document(done)["error"]["problems"][0]


def test_images_whose_tarballs_are_elsewhere_are_left_out(tmp_path: Path) -> None:
    project = made(tmp_path)
    project.export("b")
    for tarball in {*(tmp_path / "b").glob("kit_*"), *(tmp_path / "b").glob("*_linux-arm64*")}:
        tarball.unlink()
    with serving(tmp_path / "log", tmp_path / "b") as served:
        assert [it["path"] for it in served.document["images"]] == ["library/python:1"]
        assert "kit: no tarball of it is here, so it is not served" in served.log.read_text()


def refused(*arguments: str | Path) -> str:
    done = airgapbuild("serve", *arguments)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "text",
    [
        *("5000", ":5000", "a:b", "127.0.0.1:70000", "http://a:1", "[x]:1"),
        *("a..b:5000", f"{'a' * 64}:5000"),
    ],
)
def test_an_address_that_is_none_is_told(project: Project, text: str) -> None:
    told = refused("--listen", text, project.folder / "b")
    assert f"'{text}' is no HOST:PORT" in told


def test_a_name_nobody_knows_and_a_port_that_is_taken_are_told(project: Project) -> None:
    assert "--listen 192.0.2.1:1: " in refused(
        "--plain-http", "--listen", "192.0.2.1:1", project.folder / "b"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused("--listen", f"127.0.0.1:{port}", project.folder / "b")
    assert "Address already in use" in told


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "host.example"])
def test_others_may_reach_it_only_by_tls_or_if_that_is_said(project: Project, host: str) -> None:
    told = refused("--listen", f"{host}:0", project.folder / "b")
    assert f"--listen {host}:0: other machines can reach it" in told
    assert "--plain-http" in told


def test_it_listens_everywhere_where_that_is_said(project: Project, tmp_path: Path) -> None:
    with serving(
        tmp_path / "log", "--plain-http", project.folder / "b", listen="0.0.0.0:0"
    ) as served:
        port = served.url.rpartition(":")[2]
        assert served.pool.request("GET", f"http://127.0.0.1:{port}/healthz").data == b"ok\n"


def test_a_certificate_that_does_not_do_is_told(project: Project, tmp_path: Path) -> None:
    ca = pki.authority(tmp_path)
    pair, other = pki.issue(ca, tmp_path), pki.issue(ca, tmp_path, "other")
    bundle = project.folder / "b"
    assert "--cert and --key go together" in refused("--cert", pair.cert, bundle)
    assert "are no pair" in refused("--cert", pair.cert, "--key", other.key, bundle)
    assert "No such file" in refused("--cert", pair.cert, "--key", tmp_path / "none", bundle)


def test_a_file_of_users_that_does_not_do_is_told(project: Project, tmp_path: Path) -> None:
    users, bundle = tmp_path / "users", project.folder / "b"
    assert "No such file" in refused("--htpasswd", users, bundle)
    users.write_text("# nobody\n")
    assert "names nobody" in refused("--htpasswd", users, bundle)
    users.write_text("alice:$apr1$abc$xyz\n:x\n")
    told = refused("--htpasswd", users, bundle)
    assert f"{users}:1: is not 'name:' and a bcrypt hash" in told
    assert f"{users}:2: is not" in told
    hashed = "." * 53
    users.write_text("".join(f"a{cost}:$2y${cost}${hashed}\n" for cost in ("03", "32", "99")))
    told = refused("--htpasswd", users, bundle)
    assert told.count("is not 'name:' and a bcrypt hash") == 3
    users.write_text(f"alice:$2y$05${hashed}\nbob:$2y$05${'x' * 53}\n")
    assert f"{users}:2: is not 'name:' and a bcrypt hash" in refused("--htpasswd", users, bundle)
    assert f"htpasswd -B {users} NAME" in told


def test_a_folder_that_is_nothing_or_names_nothing_is_told(tmp_path: Path) -> None:
    done = airgapbuild("serve", "--listen", "127.0.0.1:0", tmp_path)
    assert (done.returncode, f"{tmp_path}: is no bundle" in done.stderr) == (7, True)
    Layout(tmp_path / "l").name(kit(made(tmp_path)).descriptor, ())
    done = airgapbuild("serve", "--listen", "127.0.0.1:0", tmp_path / "l")
    assert (done.returncode, "no image in it has a name" in done.stderr) == (7, True)


def test_nobody_vouches_for_a_layout(tmp_path: Path) -> None:
    shelve(tmp_path / "l", "x:1", "linux/amd64")
    assert "only bundles have a signature" in refused("--min-serial", "1", tmp_path / "l")


@pytest.mark.parametrize("library", ["uvicorn", "bcrypt"])
def test_without_the_extra_it_says_what_to_install(
    project: Project, tmp_path: Path, library: str
) -> None:
    (tmp_path / "users").write_text(f"alice:$2b$04${'.' * 53}\n")
    words = ["airgapbuild", "serve", "--htpasswd", str(tmp_path / "users"), str(project.folder)]
    code = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv = {words!r}; "
        "from airgapbuild.cli import main; main()"
    )
    done = subprocess.run(
        [PROGRAM.parent / "python", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 2
    assert f"{library} is not installed, and serve needs it" in done.stderr
    assert "pip install 'airgapbuild[serve]'" in done.stderr
