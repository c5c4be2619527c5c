"""Compact bundles: their bytes, how they are made anew, and what a forger may not do."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.compact import write_compact
from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import Bundle, open_bundle
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError, RegistryError
from airgapbuild.export import Exported, export
from airgapbuild.fetch import Pace
from airgapbuild.manifest import parse_manifest
from airgapbuild.oci.archive import Member, archive_chunks
from airgapbuild.oci.content import OCI_MANIFEST
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.source import read_blob
from airgapbuild.resolve import resolve
from airgapbuild.verify import verify
from tests.support.forgery import COMPACT, TARBALL
from tests.support.memory import CONFIG, LAYER, MemorySource, _fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.reference import Reference

GOLDEN = Path(__file__).parent / "golden"
TEXT = b"""
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "kit:1"
role = "builder"
[images.tool]
ref = "tool:1"
role = "tool"
platforms = ["linux/amd64"]
"""
KIT = "kit_1_linux-amd64.oci.tar.zst"


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    shared = random.Random(1).randbytes(300_000)
    kit = source.publish("kit:1", "linux/amd64", "linux/arm64", layers=(shared, b"buildkitd"))
    source.publish("tool:1", "linux/amd64", layers=(shared, b"sh"))
    source.attach("kit", kit.descriptor.digest, b"signature")
    return source


@pytest.fixture
def lock(source: MemorySource) -> Lock:
    return resolve(parse_manifest(TEXT, "m", folder=Path()), source)


@pytest.fixture
def folder(lock: Lock, source: MemorySource, tmp_path: Path) -> Path:
    export(lock, source, tmp_path / "b", packaging=COMPACT)
    return tmp_path / "b"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def plain(path: Path) -> bytes:
    """What the command that people have makes of it, told nothing."""
    return subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout


def prove(folder: Path) -> Bundle:
    """What `load` asks of a bundle before it touches a daemon."""
    bundle = open_bundle(folder)
    bundle.check_files()
    for image in bundle.lock.image:
        for locked in image.platform:
            bundle.check_image(image, locked)
    return bundle


def test_the_tar_lists_as_the_golden_file(folder: Path) -> None:
    listing = subprocess.run(
        ["tar", "-tvf", "-", "--numeric-owner", "--utc"],
        input=plain(folder / KIT),
        check=True,
        capture_output=True,
    )
    assert listing.stdout.decode() == (GOLDEN / "kit-amd64-compact.tar.txt").read_text()


def test_it_proves_itself_and_gives_back_every_blob(folder: Path) -> None:
    bundle = prove(folder)
    assert verify(folder).error is None
    for image in bundle.lock.image:
        for locked in image.platform:
            documents = bundle.image(image, locked)
            assert documents.config.descriptor.digest == locked.config
            assert [it.digest for it in documents.layers] == [*documents.parsed_config.diff_ids]
            assert [it.descriptor.digest for it in documents.upstream] == [
                image.digest,
                locked.manifest,
            ]
            for blob in (*documents.blobs, *reversed(documents.blobs)):
                assert len(read_blob(bundle, image.ref, blob)) == blob.size


def test_layers_of_the_registry_are_not_in_it(folder: Path, source: MemorySource) -> None:
    names = {name.removeprefix("blobs/sha256/") for name in listed(folder / KIT)}
    compressed = [digest for digest, raw in source.blobs.items() if raw[:2] == b"\x1f\x8b"]
    assert compressed
    assert names.isdisjoint(digest.removeprefix("sha256:") for digest in compressed)


def listed(path: Path) -> list[str]:
    return (
        subprocess.run(
            ["tar", "-tf", "-"], input=plain(path), check=True, capture_output=True, text=False
        )
        .stdout.decode()
        .split()
    )


@pytest.mark.parametrize("pace", [Pace(workers=1), Pace(workers=4, patience=0)])
def test_the_same_lock_and_level_give_the_same_bytes(
    folder: Path, lock: Lock, source: MemorySource, tmp_path: Path, pace: Pace
) -> None:
    source.chunk = 1000
    export(lock, source, tmp_path / "other", packaging=COMPACT, pace=pace)
    assert contents(tmp_path / "other") == contents(folder)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_index_says_how_it_is_packed(folder: Path) -> None:
    document = json.loads((folder / "bundle.json").read_bytes())
    assert (document["layers"], document["level"]) == ("compact", 1)


def test_an_unchanged_bundle_is_left_alone(folder: Path, lock: Lock, source: MemorySource) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    source.asked.clear()
    assert not export(lock, source, folder, packaging=COMPACT).changed
    assert source.asked == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "other", [Packaging(), Packaging(layers="compact", level=2), Packaging(layers="compact")]
)
def test_another_way_of_packing_makes_all_anew_and_back(
    folder: Path, lock: Lock, source: MemorySource, tmp_path: Path, other: Packaging
) -> None:
    first = contents(folder)
    assert len(export(lock, source, folder, packaging=other).written) == 3
    export(lock, source, tmp_path / "fresh", packaging=other)
    assert contents(folder) == contents(tmp_path / "fresh")
    prove(folder)
    assert len(export(lock, source, folder, packaging=COMPACT).written) == 3
    assert contents(folder) == first


def test_what_a_killed_run_left_is_gone_on_from(
    folder: Path, lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    class Failing(MemorySource):
        def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
            if descriptor.size < 100_000:
                return super().blob(reference, descriptor)
            raise RegistryError("down")

    other = tmp_path / "other"
    failing = Failing(source.manifests, source.blobs)
    with pytest.raises(RegistryError, match="down"):
        export(lock, failing, other, packaging=COMPACT, pace=Pace(workers=1))
    left = {path.name for path in other.iterdir()}
    assert left
    assert all(name.startswith(".") for name in left)
    (other / f".{KIT}.compact.part").write_bytes(b"half a frame")
    whole = export(lock, source, tmp_path / "whole", packaging=COMPACT).fetched
    assert export(lock, source, other, packaging=COMPACT).fetched < whole
    assert contents(other) == contents(folder)


def push(source: MemorySource, layers: list[tuple[bytes, str]], diff_ids: list[str]) -> Lock:
    """The lock of an image of one manifest, with layers and diff IDs that need not fit."""
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _fields(source._blob(json.dumps(config).encode(), CONFIG)),
        "layers": [_fields(source._blob(raw, kind)) for raw, kind in layers],
    }
    reference = parse_manifest(ONE, "m", folder=Path()).images["tool"].ref
    source.manifests[str(reference)] = source._document(reference, document, OCI_MANIFEST)
    return resolve(parse_manifest(ONE, "m", folder=Path()), source)


ONE = b"""
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.tool]
ref = "tool:1"
role = "tool"
"""


def packed(tmp_path: Path, *layers: tuple[bytes, str], diff_ids: list[str]) -> Exported:
    source = MemorySource()
    lock = push(source, list(layers), diff_ids)
    return export(lock, source, tmp_path / "b", packaging=COMPACT)


def test_layers_of_every_compression_come_once_and_raw(tmp_path: Path) -> None:
    tars = [b"one" * 1000, b"two" * 1000, b"three" * 1000]
    exported = packed(
        tmp_path,
        (gzip.compress(tars[0]), LAYER),
        (zstandard.compress(tars[1]), LAYER.replace("gzip", "zstd")),
        (tars[2], LAYER.removesuffix("+gzip")),
        (gzip.compress(tars[0], 1), LAYER),
        diff_ids=[*map(digest_of, tars), digest_of(tars[0])],
    )
    [tarball] = [file for file in exported.index.files if file.image]
    raw = [blob.digest for blob in tarball.blobs if blob.start]
    assert sorted(raw) == sorted(map(digest_of, tars))
    prove(tmp_path / "b")


def test_an_image_without_layers_is_packed(tmp_path: Path) -> None:
    packed(tmp_path, diff_ids=[])
    prove(tmp_path / "b")


ZERO = "sha256:" + "0" * 64
WRONG: dict[str, tuple[tuple[bytes, str], list[str], type[AirgapbuildError], str]] = {
    "other content": (
        (gzip.compress(b"tar"), LAYER),
        [ZERO],
        IntegrityError,
        rf"layer sha256:\w+ comes to {digest_of(b'tar')}, but the config says {ZERO}",
    ),
    "cut": ((gzip.compress(b"tar")[:-9], LAYER), [digest_of(b"tar")], IntegrityError, "cut short"),
    "bomb": (
        (zstandard.compress(bytes(1 << 20)), LAYER),
        [digest_of(bytes(1 << 20))],
        BundleError,
        "comes to more than 1032 times its size",
    ),
    "foreign": (
        (b"", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        [ZERO],
        BundleError,
        "has no place in a compact bundle",
    ),
    "too few diff IDs": ((b"", LAYER), [], IntegrityError, "1 layers, but 0 in the config"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_image_that_cannot_be_packed_leaves_nothing(tmp_path: Path, case: str) -> None:
    layer, diff_ids, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        packed(tmp_path, layer, diff_ids=diff_ids)
    assert contents(tmp_path / "b") == {}


def test_an_image_that_cannot_be_packed_leaves_the_old_bundle(
    folder: Path, source: MemorySource
) -> None:
    whole = contents(folder)
    wrong = push(source, [(gzip.compress(b"tar"), LAYER)], [ZERO])
    with pytest.raises(IntegrityError, match="comes to"):
        export(wrong, source, folder, packaging=COMPACT)
    assert contents(folder) == whole


def test_in_order_all_layers_cost_one_decoding(tmp_path: Path) -> None:
    tars = [random.Random(n).randbytes(1_000_000 + n) for n in range(8)]
    packed(
        tmp_path,
        *((gzip.compress(tar, 1), LAYER) for tar in tars),
        diff_ids=[*map(digest_of, tars)],
    )
    bundle = open_bundle(tmp_path / "b")
    [image] = bundle.lock.image
    blobs = bundle.image(image, image.platform[0]).blobs

    def cost(order: list[Descriptor]) -> int:
        before = bytes_read()
        for blob in order:
            read_blob(bundle, image.ref, blob)
        return bytes_read() - before

    size = (tmp_path / "b" / TARBALL).stat().st_size
    assert cost([*blobs]) < 1.5 * size
    assert cost([*reversed(blobs)]) > 3 * size


def test_a_file_that_two_layers_have_costs_once(tmp_path: Path) -> None:
    shared = random.Random(1).randbytes(1_000_000)
    tars = [b"one" + shared, shared + b"two"]
    packed(
        tmp_path, *((gzip.compress(it, 1), LAYER) for it in tars), diff_ids=[*map(digest_of, tars)]
    )
    assert (tmp_path / "b" / TARBALL).stat().st_size < 1_100_000


def bytes_read() -> int:
    """By this process, from anywhere. Source: proc_pid_io(5)."""
    [line] = [it for it in Path("/proc/self/io").read_text().splitlines() if "rchar" in it]
    return int(line.split()[1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=2000), max_size=5, unique=True),
    st.integers(0, 5),
    st.integers(1, 999),
)
def test_blobs_lie_where_it_says_and_chunks_do_not_matter(
    layers: list[bytes], evidence: int, chunk: int
) -> None:
    contents = {digest_of(raw): raw for raw in layers}
    written = [Member("oci-layout", 3, b"123")]
    written += [
        Member(f"blobs/sha256/{digest[7:]}", len(raw), blob=descriptor(raw))
        for digest, raw in contents.items()
    ]
    raws = list(contents)[evidence:]
    out = bytearray()

    def read(blob: Descriptor) -> Iterator[bytes]:
        raw = contents[blob.digest]
        return (raw[at : at + chunk] for at in range(0, len(raw), chunk))

    blobs = write_compact(written, raws, 3, read, out.extend)
    again = bytearray()
    write_compact(written, raws, 3, lambda it: iter([contents[it.digest]]), again.extend)
    assert again == out
    tar = b"".join(archive_chunks(written, read))
    assert decode(out) == tar
    for blob in blobs:
        content = decode(out[blob.offset : blob.offset + blob.length])
        start = blob.start or 0
        assert content[start : start + blob.size] == contents[blob.digest]
        assert (blob.start is not None) == (blob.digest in raws)


def descriptor(raw: bytes) -> Descriptor:
    return MemorySource()._blob(raw, LAYER)


def decode(frames: bytes | bytearray) -> bytes:
    return (
        zstandard.ZstdDecompressor()
        .stream_reader(io.BytesIO(frames), read_across_frames=True)
        .read()
    )
