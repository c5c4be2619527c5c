"""What went wrong in other tools' readers, row by row, before ours.

The rows are the classes of the project's list of failures to design against. Those about
credentials have their tests in tests/integration: test_registry_redirects.py (redirects away from
the host or from TLS), test_registry_login.py (realms, token servers) and test_secrets.py. Those
about signatures stand in the tests of signatures.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import zstandard

from airgapbuild.bundle.head import read_head
from airgapbuild.bundle.index import INDEX_FILE, SUMS_FILE, parse_bundle_index
from airgapbuild.bundle.reader import Bundle, open_bundle
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError, LockError
from airgapbuild.lockfile import FILE_NAME as LOCK_FILE
from airgapbuild.lockfile import parse_lock
from airgapbuild.oci.archive import Member, parse_header
from airgapbuild.oci.content import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    content,
    json_object,
    parse_config,
    parse_index,
    parse_layout_index,
    parse_manifest,
)
from airgapbuild.oci.digest import parse_digest
from airgapbuild.oci.source import read_blob
from airgapbuild.verify import verify
from tests.fuzz.tars import with_sum
from tests.support.forgery import (
    TARBALL,
    forge_blobs,
    make_bundle,
    members,
    rebuild,
    stored,
    vouch,
)
from tests.support.program import airgapbuild

DIGITS = "0" * 64
DIGEST = f"sha256:{DIGITS}"
BLOB = f"blobs/sha256/{DIGITS}"
LAYER = {"mediaType": "application/x", "digest": DIGEST, "size": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def prove(folder: Path) -> Bundle:
    """What `load` asks of a bundle before it touches a daemon."""
    bundle = open_bundle(folder)
    bundle.check_files()
    [image] = bundle.lock.image
    bundle.check_image(image, image.platform[0])
    return bundle


def refused(folder: Path, words: str) -> None:
    """By `load` and by `verify`; and nothing came of it on the disk."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises((BundleError, IntegrityError), match=words):
        prove(folder)
    assert verify(folder).error is not None
    assert sorted(folder.parent.rglob("*")) == before


# Tar traversal, links and headers that parsers choke on.


def header(name: str = BLOB, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT)


def sized(field: bytes) -> bytes:
    """A header whose size is written like this."""
    plain = header()
    return with_sum(plain[:124] + field.ljust(12, b"\0") + plain[136:])


HEADERS = {
    "zarf: symlink": (header(kind=tarfile.SYMTYPE, link="/etc/shadow"), "not a regular file"),
    "GHSA-hpxr-w9w7-g4gv: symlink upwards": (
        header(kind=tarfile.SYMTYPE, link="../../../x"),
        "not a regular file",
    ),
    "CVE-2026-50163: hard link": (header(kind=tarfile.LNKTYPE, link="x"), "not a regular file"),
    "CVE-2025-4517: parent": (header("../x"), "has no place in an image archive"),
    "CVE-2025-4517: parent behind a good name": (
        header(f"blobs/sha256/../{DIGITS}"),
        "has no place in an image archive",
    ),
    "CVE-2025-4330: absolute": (header("/etc/cron.d/x"), "has no place in an image archive"),
    "CVE-2025-4435: folder": (header("blobs", tarfile.DIRTYPE), "not a regular file"),
    "CVE-2026-11940: link in a file's place": (
        header("index.json", tarfile.LNKTYPE, link="../index.json"),
        "not a regular file",
    ),
    "CVE-2026-11940: file that is called as a folder": (header(f"{BLOB}/"), "has no place"),
    "device": (header(kind=tarfile.BLKTYPE), "not a regular file"),
    "FIFO": (header(kind=tarfile.FIFOTYPE), "not a regular file"),
    "old regular file": (header(kind=tarfile.AREGTYPE), "not a regular file"),
    "contiguous file": (header(kind=tarfile.CONTTYPE), "not a regular file"),
    "unknown kind": (header(kind=b"Z"), "not a regular file"),
    "CVE-2019-20907: pax": (header("x", tarfile.XHDTYPE, 512), "not a regular file"),
    "CVE-2019-20907: global pax": (header("x", tarfile.XGLTYPE, 512), "not a regular file"),
    "GNU long name": (header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 9), "not a regular file"),
    "GNU long link": (header("././@LongLink", tarfile.GNUTYPE_LONGLINK, 9), "not a regular file"),
    "GNU sparse": (header(kind=tarfile.GNUTYPE_SPARSE), "not a regular file"),
    "CVE-2025-8194: negative size": (sized(b"\xff" * 12), "negative size"),
    "CVE-2025-8194: negative size in octal": (sized(b"-0000000001"), "negative size"),
    "size of 2^62": (sized(b"\x80" + (1 << 62).to_bytes(11, "big")), "is not the image's"),
    "size with spaces inside": (sized(b"1 2 3"), "not a tar header"),
    "size that is no number": (sized(b"0x10"), "not a tar header"),
    "wrong sum": (header()[:-1] + b"x", "not a tar header: bad checksum"),
    "name that is not UTF-8": (with_sum(b"\xff" + header()[1:]), "not a tar header"),
    "name of another alphabet": (header("blobs/sha256/" + "\u0660" * 40), "has no place"),
    "name with a direction mark": (header("index.json\u202e"), "has no place"),
    "name twice": (header("oci-layout"), "comes twice"),
}


@pytest.mark.parametrize("row", HEADERS)
def test_a_header_that_has_no_place_is_refused(folder: Path, row: str) -> None:
    raw, words = HEADERS[row]

    def edit(tar: tarfile.TarFile, whole: dict[str, bytes]) -> None:
        for name, data in whole.items():
            member = Member(name, len(data))
            tar.fileobj.write(member.header + data + member.padding)
        tar.fileobj.write(raw + bytes(512))

    forge_blobs(folder, edit)
    refused(folder, words)
    alone = folder.parent / "alone"
    alone.write_bytes(stored(raw + bytes(2048)))
    with pytest.raises(BundleError):
        read_head(alone)


def test_what_follows_a_zero_byte_in_a_name_is_not_part_of_it() -> None:
    """GHSA-qmmc-jppf-32wv and its like: names are compared as a whole, never joined to a path."""
    raw = bytearray(header("index.json"))
    raw[10:15] = b"\0/../"
    assert parse_header(with_sum(bytes(raw))).name == "index.json"


def replaced(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def edit(whole: dict[str, bytes]) -> None:
        assert old in whole[name]
        whole[name] = whole[name].replace(old, new)

    return edit


NAMES = {
    "GHSA-qmmc-jppf-32wv: config that leads elsewhere": replaced(
        "manifest.json", b'"Config":"blobs', b'"Config":"../../blobs'
    ),
    "GHSA-qmmc-jppf-32wv: layer that leads elsewhere": replaced(
        "manifest.json", b'"Layers":["blobs', b'"Layers":["/etc/blobs'
    ),
    "GO-2026-5338: another image's name": replaced(
        "index.json", b"docker.io/library/tool:1", b"docker.io/library/bash:5"
    ),
    "GO-2026-5338: another image's tag": replaced("manifest.json", b"tool:1", b"bash:5"),
    "CVE-2021-41190: another kind of document": replaced(
        "index.json", b"image.index.v1", b"image.manifest.v1"
    ),
}


@pytest.mark.parametrize("row", NAMES)
def test_names_come_from_the_lock_and_never_from_the_tar(folder: Path, row: str) -> None:
    whole = members(folder)
    NAMES[row](whole)
    rebuild(folder, whole)
    refused(folder, "is not what the lock leads to|bytes, expected")


# Decompression and memory.


def frames(folder: Path, first: bytes) -> None:
    """The tarball begins with these frames; what bundle.json speaks of lies behind them."""
    raw = (folder / TARBALL).read_bytes()
    index = json.loads((folder / INDEX_FILE).read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    for blob in file["blobs"]:
        blob["offset"] += len(first)
    (folder / TARBALL).write_bytes(first + raw)
    (folder / INDEX_FILE).write_text(json.dumps(index))
    vouch(folder, TARBALL)


PLAIN = stored(b"x" * 600)
WIDE = zstandard.ZstdCompressor(
    compression_params=zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
)
FRAMES = {
    "window of 256 MiB": (
        WIDE.compressobj().compress(os.urandom(1 << 18)),
        "requires too much memory",
    ),
    "dictionary that nobody has": (PLAIN[:4] + b"\xa3" + b"\1\2\3\4" + PLAIN[5:], "not zstd"),
    "content size that lies": (PLAIN[:5] + (700).to_bytes(4, "little") + PLAIN[9:], "not zstd"),
    "reserved bit": (PLAIN[:4] + b"\xa8" + PLAIN[5:], "not zstd"),
    "reserved block": (PLAIN[:9] + b"\x07\0\0" + PLAIN[12:], "not zstd"),
    "wrong magic": (b"\x29" + PLAIN[1:], "not zstd"),
    "skippable": (b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc", "not zstd"),
    "gzip": (b"\x1f\x8b\x08" + bytes(600), "not zstd"),
    "content that is no tar": (PLAIN, "not a tar header"),
    "frame that repeats one byte 4 million times": (
        b"\x28\xb5\x2f\xfd\xa0" + (4 << 20).to_bytes(4, "little") + b"\x02\0\x10A" * 32,
        "not zstd|not a tar header",
    ),
}


@pytest.mark.parametrize("row", FRAMES)
def test_frames_that_are_not_ours_are_refused(folder: Path, row: str) -> None:
    first, words = FRAMES[row]
    frames(folder, first)
    refused(folder, words)


def test_a_document_of_more_than_4_mib_is_not_read(folder: Path, tmp_path: Path) -> None:
    """CVE-2023-25153."""
    path = tmp_path / "large"
    path.write_bytes(stored(Member("index.json", 5 << 20).header + b"[" * (5 << 20)))
    with pytest.raises(BundleError, match=r"has no index\.json before its blobs"):
        read_head(path)
    bundle = open_bundle(folder)
    [image] = bundle.lock.image
    file = bundle.index.files[-1]
    large = tuple(blob.model_copy(update={"size": 5 << 20}) for blob in file.blobs)
    index = bundle.index.model_copy(update={"files": (file.model_copy(update={"blobs": large}),)})
    with pytest.raises(IntegrityError, match="a manifest of 5242880 bytes"):
        Bundle(folder, bundle.lock, index).image(image, image.platform[0])


def test_the_http_library_decompresses_no_redirects() -> None:
    """CVE-2026-21441."""
    assert tuple(map(int, version("urllib3").split(".")[:3])) >= (2, 6, 3)


# Documents that mean two things, or too much.


DOCUMENTS = {
    "deep": b'{"a":' * 100_000,
    "deep arrays": b'{"a":' + b"[" * 100_000,
    "integer of 10000 digits": b'{"a":' + b"9" * 10_000 + b"}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "key twice": b'{"a": 1, "a": 2}',
    "key twice inside": b'{"x": [{"a": 1, "\\u0061": 2}]}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32-le"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "half a character": b'{"a": "\\ud800"}',
    "half a character as bytes": b'{"a": "\xed\xa0\x80"}',
    "halves in the wrong order": b'{"\\udc00\\ud800": 1}',
    "control character": b'{"a": "\0"}',
    "two documents": b"{}{}",
    "nothing": b"",
}


@pytest.mark.parametrize("row", DOCUMENTS)
def test_a_document_that_not_every_reader_understands_alike_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match=r"^not JSON: "):
        json_object(DOCUMENTS[row])
    with pytest.raises(BundleError, match=r"^bundle\.json: not JSON"):
        parse_bundle_index(DOCUMENTS[row], "bundle.json")


def test_a_whole_character_in_two_escapes_is_one() -> None:
    assert json_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


AMBIGUOUS: dict[str, tuple[str, dict[str, Any]]] = {
    "CVE-2021-41190: manifest with manifests": (
        OCI_MANIFEST,
        {"config": LAYER, "layers": [], "manifests": []},
    ),
    "CVE-2021-41190: manifest with Manifests": (
        OCI_MANIFEST,
        {"config": LAYER, "layers": [], "Manifests": []},
    ),
    "CVE-2021-41190: index with layers": (OCI_INDEX, {"manifests": [], "layers": []}),
    "CVE-2021-41190: index with config": (OCI_INDEX, {"manifests": [], "CONFIG": LAYER}),
    "CVE-2021-41190: two spellings": (
        OCI_MANIFEST,
        {"config": LAYER, "layers": [], "Layers": [LAYER]},
    ),
    "CVE-2021-41190: served as something else": (
        OCI_INDEX,
        {"manifests": [], "mediaType": OCI_MANIFEST},
    ),
    "CVE-2021-41190: of no kind": ("text/plain", {"manifests": []}),
}


def manifest_of(raw: bytes) -> object:
    return parse_manifest(content(raw, OCI_MANIFEST), "x")


def index_of(raw: bytes) -> object:
    return parse_index(content(raw, OCI_INDEX), "x")


def layout_of(raw: bytes) -> object:
    return parse_layout_index(raw, "x")


def config_of(raw: bytes) -> object:
    return parse_config(raw, "x")


OTHER = "sha256:" + "1" * 64
MATCHES = {"os": "linux", "architecture": "amd64"}
ENTRY = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 3, "platform": MATCHES}
SPELLINGS: dict[str, tuple[Callable[[bytes], object], dict[str, Any]]] = {
    "a config's digest": (manifest_of, {"config": {**LAYER, "Digest": OTHER}, "layers": []}),
    "a layer's digest": (manifest_of, {"config": LAYER, "layers": [{**LAYER, "DIGEST": OTHER}]}),
    "a subject's digest": (
        manifest_of,
        {"config": LAYER, "layers": [], "subject": {**LAYER, "Digest": OTHER}},
    ),
    "annotations": (
        manifest_of,
        {"config": LAYER, "layers": [], "annotations": {}, "Annotations": {}},
    ),
    "a letter that Go takes for another": (
        manifest_of,
        {"config": LAYER, "layers": [], "layer\u017f": [LAYER]},
    ),
    "a media type in capitals": (
        manifest_of,
        {"config": LAYER, "layers": [], "MediaType": OCI_INDEX},
    ),
    "a subject in capitals": (manifest_of, {"config": LAYER, "layers": [], "Subject": LAYER}),
    "a key by our own name": (
        manifest_of,
        {"config": {"media_type": "x", "digest": DIGEST, "size": 3}, "layers": []},
    ),
    "an entry's digest": (index_of, {"manifests": [{**ENTRY, "Digest": OTHER}]}),
    "a platform's architecture": (
        index_of,
        {"manifests": [{**ENTRY, "platform": {**MATCHES, "Architecture": "arm64"}}]},
    ),
    "a variant in capitals": (
        index_of,
        {"manifests": [{**ENTRY, "platform": {**MATCHES, "Variant": "v3"}}]},
    ),
    "a layout's digest": (layout_of, {"manifests": [{**ENTRY, "Digest": OTHER}]}),
    "a config's root": (config_of, {**MATCHES, "rootfs": {}, "RootFS": {"diff_ids": [DIGEST]}}),
    "diff IDs": (config_of, {**MATCHES, "rootfs": {"diff_ids": [], "Diff_IDs": [DIGEST]}}),
    "a config's system": (config_of, {**MATCHES, "OS": "windows", "rootfs": {}}),
    "what is run on build": (
        config_of,
        {**MATCHES, "rootfs": {}, "config": {"onbuild": ["RUN x"]}},
    ),
}


@pytest.mark.parametrize("row", SPELLINGS)
def test_a_key_has_one_spelling_in_whatever_object(row: str) -> None:
    """Go's readers, and so docker's, take `Digest` for `digest`; the last one counts."""
    parse, value = SPELLINGS[row]
    with pytest.raises(IntegrityError, match=r"^x: .*(ambiguous|Field required)"):
        parse(json.dumps(value, ensure_ascii=False).encode())


def test_maps_may_have_keys_that_differ_in_case_alone() -> None:
    notes = {"a": "1", "A": "2"}
    entry = {**ENTRY, "annotations": notes}
    [found] = parse_layout_index(json.dumps({"manifests": [entry]}).encode(), "x")
    assert found.annotations == notes
    run = {"Labels": notes, "Volumes": {"/data": {}, "/Data": {}}}
    config = {**MATCHES, "rootfs": {"diff_ids": [DIGEST]}, "config": run}
    assert parse_config(json.dumps(config).encode(), "x").diff_ids == (DIGEST,)


@pytest.mark.parametrize("row", AMBIGUOUS)
def test_a_document_is_one_thing(row: str) -> None:
    media_type, value = AMBIGUOUS[row]
    parse = parse_index if media_type == OCI_INDEX else parse_manifest
    with pytest.raises(IntegrityError, match=r"ambiguous|but calls itself|media type"):
        parse(content(json.dumps(value).encode(), media_type), "x")


DIGESTS = {
    "CVE-2024-3727: path": "sha256:../../../etc/passwd",
    "CVE-2024-3727: path of the right length": "sha256:" + "../" * 21 + "x",
    "CVE-2024-3727: query": f"{DIGEST}?x=1",
    "another algorithm": "sha512:" + "0" * 128,
    "md5": "md5:" + "0" * 32,
    "capitals": "sha256:" + "A" * 64,
    "too short": DIGEST[:-1],
    "too long": f"{DIGEST}0",
    "line end": f"{DIGEST}\n",
    "zero byte": f"{DIGEST[:-1]}\0",
    "digits of another alphabet": "sha256:" + "\u0660" * 64,
    "none": "",
}


@pytest.mark.parametrize("row", DIGESTS)
def test_a_digest_is_one_before_anything_is_done_with_it(made: Path, row: str) -> None:
    text = DIGESTS[row]
    with pytest.raises(ValueError, match="is not a digest"):
        parse_digest(text)
    with pytest.raises(ValueError, match="is not a digest"):
        Descriptor.model_validate({**LAYER, "digest": text})
    index = json.loads((made / INDEX_FILE).read_bytes())
    index["files"][-1]["blobs"][0]["digest"] = text
    with pytest.raises(BundleError, match="is not a digest"):
        parse_bundle_index(json.dumps(index).encode(), "bundle.json")
    lock = (made / LOCK_FILE).read_text()
    [line] = [line for line in lock.splitlines() if line.startswith("digest = ")]
    with pytest.raises(LockError, match="is not a digest"):
        parse_lock(lock.replace(line, f"digest = {json.dumps(text)}").encode(), "lock")


SIZES = (-1, 1 << 63, 10**40, 1.5, "3", None)


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_a_count_of_bytes(made: Path, size: object) -> None:
    value = {"config": {**LAYER, "size": size}, "layers": []}
    document = content(json.dumps(value).encode(), OCI_MANIFEST)
    with pytest.raises(IntegrityError, match=r"config\.size"):
        parse_manifest(document, "x")
    for key in ("size", "offset", "length"):
        index = json.loads((made / INDEX_FILE).read_bytes())
        index["files"][-1]["blobs"][0][key] = size
        with pytest.raises(BundleError, match=rf"\.{key}"):
            parse_bundle_index(json.dumps(index).encode(), "bundle.json")


def test_addresses_in_a_descriptor_are_not_even_read() -> None:
    """GHSA-742w-89gc-8m9c."""
    foreign = {**LAYER, "urls": ["http://169.254.169.254/"], "data": "AAAA"}
    value = {"config": LAYER, "layers": [foreign]}
    [layer] = parse_manifest(content(json.dumps(value).encode(), OCI_MANIFEST), "x").layers
    assert layer == Descriptor.model_validate(LAYER)


# What lies in the folder, and what comes between a look and the next.


KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("name", [SUMS_FILE, INDEX_FILE, LOCK_FILE, TARBALL, "buildkitd.toml"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_not_opened(folder: Path, kind: str, name: str) -> None:
    (folder / name).unlink()
    KINDS[kind](folder / name)
    with pytest.raises(BundleError, match="not a plain file"):
        prove(folder)
    assert name in verify(folder).fetch


def test_a_file_that_changes_after_it_was_proven_is_found_while_it_is_sent(folder: Path) -> None:
    """Zarf deletes parts before it verifies; others look twice at a tag."""
    bundle = prove(folder)
    [image] = bundle.lock.image
    documents = bundle.image(image, image.platform[0])
    raw = bytearray((folder / TARBALL).read_bytes())
    for blob in bundle.index.files[-1].blobs:
        raw[blob.offset + blob.length - 1] ^= 1
    (folder / TARBALL).write_bytes(raw)
    for layer in documents.layers:
        with pytest.raises(IntegrityError, match=layer.digest):
            read_blob(bundle, image.ref, layer)
    with pytest.raises(IntegrityError):
        bundle.image(image, image.platform[0])


@pytest.mark.parametrize("name", [SUMS_FILE, INDEX_FILE, LOCK_FILE, TARBALL])
def test_a_right_file_of_another_bundle_is_wrong_here(folder: Path, name: str) -> None:
    """CVE-2022-36056: each file is whole and vouched for, but not by these others."""
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    whole = members(other)
    lock = (other / LOCK_FILE).read_text().replace('name = "b"', 'name = "c"')
    (other / LOCK_FILE).write_text(lock)
    vouch(other, LOCK_FILE)
    rebuild(other, dict(reversed(whole.items())))
    prove(other)
    shutil.copy(other / name, folder / name)
    with pytest.raises(AirgapbuildError):
        prove(folder)
    assert verify(folder).error is not None


def test_what_a_tarball_says_of_itself_does_not_steer_a_terminal(folder: Path) -> None:
    whole = members(folder)
    index = json.loads(whole["index.json"])
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = "\x1b]0;x\x07\u202e\nok"
    whole["index.json"] = json.dumps(index).encode()
    rebuild(folder, whole)
    told = airgapbuild("inspect", folder / TARBALL)
    assert told.returncode == 0
    assert r"\x1b]0;x\x07\u202e\nok" in told.stdout
    assert "\x1b" not in told.stdout
