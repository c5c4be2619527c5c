from __future__ import annotations

import json
import resource
import tarfile
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.daemon import Daemon
from airgapbuild.engine.saved import DaemonSource
from airgapbuild.errors import AirgapbuildError, DaemonError, IntegrityError, UsageError
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.reference import parse_source
from tests.support.socket_daemon import Socket, answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = {"ApiVersion": "1.47", "Version": "27.3.1", "Os": "linux", "Arch": "amd64"}
REFERENCE = parse_source("docker-daemon:own:1")
MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'
DIGEST = digest_of(MANIFEST)
INDEX = json.dumps(
    {"manifests": [{"mediaType": "x", "digest": DIGEST, "size": len(MANIFEST)}]}
).encode()
BLOB = f"blobs/{DIGEST.replace(':', '/')}"


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), "../../../elsewhere"
    return info.tobuf() + content + bytes(-len(content) % 512)


def saved(*members: bytes) -> bytes:
    return answer_raw(b"".join(members) + bytes(1024))


def negative(header: bytes) -> bytes:
    """The same file with a size below nothing, in GNU's base-256, and a sum that fits."""
    raw = bytearray(header)
    raw[124:136] = b"\xff" * 12
    raw[148:156] = b" " * 8
    raw[148:156] = f"{sum(raw[:512]):06o}\0 ".encode()
    return bytes(raw)


def answer_raw(body: bytes, cut: int | None = None) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:cut]


def asked(folder: Path, archive: bytes) -> tuple[bytes | None, Exception | None]:
    """What a daemon that saves this archive gives; nothing is left of it afterwards."""
    image = {"Id": DIGEST, "RepoTags": [], "RepoDigests": []}
    answers = (answer(VERSION), answer({}), answer(image), archive)
    got: tuple[bytes | None, Exception | None]
    with closing(Socket(folder / "s", *answers)) as fake:
        source = DaemonSource(lambda: Daemon.connect(fake.endpoint), folder / "cache")
        with closing(source):
            try:
                got = source.manifest(REFERENCE).raw, None
            except AirgapbuildError as error:
                got = None, error
    assert list((folder / "cache").iterdir()) == []
    return got


def test_what_is_no_part_of_a_layout_is_passed_over(tmp_path: Path) -> None:
    archive = saved(
        member("blobs/", kind=tarfile.DIRTYPE),
        member("../escaped", b"x"),
        member("blobs/sha256/../../../escaped", b"x"),
        member(BLOB.replace("blobs", "blobs/."), b"x"),
        member(f"blobs/sha256/{'0' * 64}", kind=tarfile.SYMTYPE),
        member(BLOB, MANIFEST),
        member("index.json", INDEX),
    )
    assert asked(tmp_path, archive) == (MANIFEST, None)
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("archive", "kind", "words"),
    [
        (saved(member(BLOB, b"other"), member("index.json", INDEX)), IntegrityError, DIGEST),
        (saved(member("manifest.json", b"[]")), DaemonError, "saves it without a manifest"),
        (answer_raw(b"no tar at all" * 100), DaemonError, "is no tar"),
        (answer_raw(member(BLOB, MANIFEST) + bytes(1024), 700), DaemonError, "unix://"),
        (answer_raw(member(BLOB, MANIFEST)[:530]), DaemonError, "is no tar"),
        (answer_raw(member("index.json", INDEX)[:530]), DaemonError, "is no tar"),
        (saved(negative(member(BLOB, MANIFEST))), DaemonError, "is no tar"),
        (answer({"message": "no space left"}, "500 No"), DaemonError, "no space left"),
    ],
    ids=[
        "another blob",
        "docker-archive",
        "no tar",
        "cut",
        "short blob",
        "short index",
        "negative",
        "refused",
    ],
)
def test_what_cannot_be_pinned_is_told_and_leaves_nothing(
    tmp_path: Path, archive: bytes, kind: type[Exception], words: str
) -> None:
    got, error = asked(tmp_path, archive)
    assert got is None
    assert isinstance(error, kind)
    assert words in str(error)


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    source = DaemonSource(nobody, tmp_path / "file" / "cache")
    with pytest.raises(UsageError, match=f"{tmp_path}/file/cache: Not a directory") as refused:
        source.manifest(REFERENCE)
    assert refused.value.hint == "XDG_CACHE_HOME names another folder"


@pytest.mark.parametrize("room", [512, 4096])
def test_a_cache_that_is_full_is_told(tmp_path: Path, room: int) -> None:
    """A file of ours may be no larger, as on a disk with so much room left: blob, then index."""
    blob = b"x" * 2048
    archive = saved(
        member(f"blobs/{digest_of(blob).replace(':', '/')}", blob),
        member("index.json", INDEX + b" " * 8192),
    )
    with limited(room):
        got, error = asked(tmp_path, archive)
    assert got is None
    assert isinstance(error, UsageError)
    assert str(error).endswith(": File too large")
    assert error.hint == "XDG_CACHE_HOME names another folder"


def nobody() -> Daemon:
    raise AssertionError("nobody is asked")


@contextmanager
def limited(size: int) -> Iterator[None]:
    """While it lasts, no file grows larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_daemon_has_nothing_beside_its_images(tmp_path: Path) -> None:
    source = DaemonSource(nobody, tmp_path)
    assert source.referrers(REFERENCE, DIGEST) == ()
    assert source.find(REFERENCE.with_tag("sha256-x.sig")) is None


def test_an_image_is_saved_once(tmp_path: Path) -> None:
    image = {"Id": DIGEST, "RepoTags": [], "RepoDigests": []}
    archive = saved(member(BLOB, MANIFEST), member("index.json", INDEX))
    answers = (answer(VERSION), answer({}), answer(image), archive)
    with (
        closing(Socket(tmp_path / "s", *answers)) as fake,
        closing(DaemonSource(lambda: Daemon.connect(fake.endpoint), tmp_path / "cache")) as source,
    ):
        top = source.manifest(REFERENCE)
        assert source.manifest(REFERENCE.with_digest(DIGEST)) == top
        assert b"".join(source.blob(REFERENCE, top.descriptor)) == MANIFEST
        with pytest.raises(DaemonError, match="own:1 is another image now: sha256:"):
            source.manifest(REFERENCE.with_digest(digest_of(b"before")))
