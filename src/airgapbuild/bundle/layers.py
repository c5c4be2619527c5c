"""A layer's raw tar, whatever the registry's compression.

What a layer is, its first bytes tell, as container engines have it: media types are wrong at times,
and the diff ID decides anyway whether it was read right.

Source: RFC 1952, 2.2 (a gzip file is any number of members); RFC 8878, 3.1 (zstd likewise).
"""

from __future__ import annotations

import zlib
from itertools import chain
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.frames import MAGIC, decompressed
from airgapbuild.bundle.walk import Stream
from airgapbuild.errors import BundleError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airgapbuild.oci.content import Descriptor

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_ZSTD_WINDOW: Final = 128 << 20
"""What `zstd -d` and the engines take. Compressors in Go want 8 MiB without being asked to."""
_CHUNK: Final = 1 << 20


def raw(layer: Descriptor, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The raw tar of a layer, in chunks of bounded size; its digest is not looked at.

    Raises:
        IntegrityError: it is not whole, or not what it begins as.
    """
    chunks = iter(chunks)
    first = next(chunks, b"")
    whole = chain([first], chunks)
    if first.startswith(_GZIP_MAGIC):
        yield from _gunzipped(whole, f"layer {layer.digest}")
    elif first.startswith(MAGIC):
        yield from _decoded(whole, layer)
    else:
        yield from whole


def _decoded(chunks: Iterator[bytes], layer: Descriptor) -> Iterator[bytes]:
    try:
        yield from decompressed(_Joined(chunks), f"layer {layer.digest}", window=_ZSTD_WINDOW)
    except BundleError as error:
        raise IntegrityError(error.message) from error


def _gunzipped(chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                if inflater.eof:
                    inflater = zlib.decompressobj(_GZIP_WINDOW)
                yield inflater.decompress(left, _CHUNK)
                left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        # All has gone in, but not all may have come out.
        while piece := inflater.decompress(b"", _CHUNK):
            yield piece
    except zlib.error as error:
        raise IntegrityError(f"{what}: not gzip: {error}") from error
    if not inflater.eof:
        raise IntegrityError(f"{what}: its gzip stream is cut short")


class _Joined:
    """Chunks, as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._stream = Stream(chunks)

    def read(self, size: int, /) -> bytes:
        return b"".join(self._stream.read(size))
