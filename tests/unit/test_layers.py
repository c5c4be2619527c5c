"""A layer's raw tar, out of what registries have."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.layers import raw
from airgapbuild.errors import IntegrityError
from airgapbuild.oci.content import Descriptor
from airgapbuild.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "uncompressed": bytes,
}


def descriptor(blob: bytes) -> Descriptor:
    return Descriptor(media_type="", digest=digest_of(blob), size=len(blob))


def chunks(blob: bytes, size: int) -> Iterator[bytes]:
    return (blob[start : start + size] for start in range(0, len(blob), size))


def unpacked(blob: bytes, size: int = 1 << 16) -> bytes:
    return b"".join(raw(descriptor(blob), chunks(blob, size)))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(PACKED)), st.lists(st.binary(max_size=500)), st.integers(4, 100))
def test_a_layer_comes_out_as_it_went_in_however_it_comes(
    kind: str, members: list[bytes], size: int
) -> None:
    content = b"tar" + b"".join(members)
    blob = PACKED[kind](b"tar") + b"".join(map(PACKED[kind], members))
    assert unpacked(blob, size) == content


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_comes_to_much_comes_in_small_chunks(kind: str) -> None:
    blob = PACKED[kind](bytes(40 * MIB))
    sizes = [len(chunk) for chunk in raw(descriptor(blob), chunks(blob, 128 << 10))]
    assert sum(sizes) == 40 * MIB
    assert max(sizes) <= MIB


def test_output_that_waits_inside_zlib_comes_out() -> None:
    content = bytes(3 * MIB) + random.Random(1).randbytes(100)
    assert unpacked(gzip.compress(content), 7) == content


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (gzip.compress(b"x" * 1000, mtime=0)[:-1], "its gzip stream is cut short"),
        (gzip.compress(b"x" * 1000, mtime=0)[:5], "its gzip stream is cut short"),
        (gzip.compress(b"x", mtime=0) + b"more", "not gzip"),
        (gzip.compress(b"x", mtime=0) + bytes(8), "not gzip"),
        (gzip.compress(b"x", mtime=0)[:-8] + bytes(8), "not gzip"),
    ],
)
def test_broken_gzip_is_told(blob: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=rf"layer sha256:\w+: {message}"):
        unpacked(blob)


def test_broken_zstd_is_told() -> None:
    blob = PACKED["zstd"](b"x" * 1000)
    with pytest.raises(IntegrityError, match=r"layer sha256:\w+: not zstd"):
        unpacked(blob[:5] + b"\xff" * 20)


@pytest.mark.parametrize("log", [23, 27])
def test_zstd_may_want_as_much_memory_as_it_does_everywhere(log: int) -> None:
    """BuildKit's and skopeo's zstd, which is klauspost's, has windows of 8 MiB by default."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log)
    frames = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = random.Random(1).randbytes(100_000)
    assert unpacked(frames.compress(content) + frames.flush()) == content


def test_skippable_frames_in_zstd_are_passed_over() -> None:
    """As zstd:chunked has them; what the layer is, its diff ID proves."""
    note = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    blob = PACKED["zstd"](b"a") + note + PACKED["zstd"](b"b") + note
    assert unpacked(blob) == b"ab"


def test_zstd_that_wants_gigabytes_of_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    frames = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(IntegrityError, match="not zstd"):
        unpacked(frames.compress(bytes(1000)) + frames.flush())


def test_an_empty_layer_is_an_empty_tar() -> None:
    assert unpacked(b"") == b""
