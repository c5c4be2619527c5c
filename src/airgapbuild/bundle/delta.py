"""A layer written as what differs from an older one: zstd frames with the old bytes as reference.

A rebuilt image mostly has the old layer's bytes at about the old places. So the new layer is cut
into pieces of 32 MiB, and each piece is a zstd frame whose dictionary is the old layer's bytes at
that place and 16 MiB to either side. Whoever has the old layer decodes them one after the other::

    frame k = new[32k : 32k + 32 MiB], dictionary old[32k - 16 MiB : 32k + 48 MiB]      (MiB)

Where the two layers differ in size, the place in the old one is in proportion. So memory stays flat
however large the layers are, which `zstd --patch-from` over the whole would not: it holds both.

Source: RFC 8878, 3.1.1 (frames) and 5 (dictionaries: raw content, which offsets may reach as long
as no more than a window has been decoded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from airgapbuild.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airgapbuild.bundle.frames import Readable

_WINDOW_LOG: Final = 25
_TABLE_LOG: Final = 24
"""Of the encoder's hash table: a smaller one would not take in the whole of a dictionary."""
_SIP: Final = 1 << 10
"""Bytes given to the decoder at once. A few bytes may stand for a block of 128 KiB, so this bounds
what comes out before it can be counted, to 32 MiB."""


class Reference(Protocol):
    """The older layer, at any place."""

    @property
    def size(self) -> int:
        """In bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The `size` bytes from `offset` on; fewer at the end."""


@dataclass(frozen=True)
class Scale:
    """How long a piece is, and how far to either side of its place its dictionary reaches."""

    piece: int = 32 << 20
    reach: int = 16 << 20

    def dictionary(
        self, start: int, size: int, reference: Reference
    ) -> zstandard.ZstdCompressionDict:
        """Of the piece at `start` of a layer of `size` bytes."""
        place = start * reference.size // size
        first = max(0, place - self.reach)
        content = reference.read_at(first, place + self.piece + self.reach - first)
        return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


SCALE: Final = Scale()


def encoded(
    chunks: Iterable[bytes], size: int, reference: Reference, scale: Scale = SCALE
) -> Iterator[bytes]:
    """The frames of a layer of `size` bytes that comes in `chunks`."""
    for start, piece in _pieces(chunks, scale.piece):
        compressor = zstandard.ZstdCompressor(
            dict_data=scale.dictionary(start, size, reference), compression_params=_parameters()
        )
        yield compressor.compress(piece)


def decoded_against(
    file: Readable, size: int, reference: Reference, what: str, scale: Scale = SCALE
) -> Iterator[bytes]:
    """A layer of `size` bytes from its frames, in chunks.

    Raises:
        BundleError: these are no such frames, or they hold more or less than `size` bytes.
    """
    rest = b""
    for start in range(0, size, scale.piece):
        decompressor = zstandard.ZstdDecompressor(
            dict_data=scale.dictionary(start, size, reference), max_window_size=1 << _WINDOW_LOG
        ).decompressobj()
        left = min(scale.piece, size - start)
        while not decompressor.eof:
            if not (sip := rest or file.read(_SIP)):
                raise BundleError(f"{what}: a frame is cut short")
            try:
                chunk = decompressor.decompress(sip)
            except zstandard.ZstdError as error:
                raise BundleError(
                    f"{what}: not zstd, or not of this older layer: {error}"
                ) from error
            rest = decompressor.unused_data
            left -= len(chunk)
            if left < 0:
                raise BundleError(f"{what}: a frame holds more than it should")
            if chunk:
                yield chunk
        if left:
            raise BundleError(f"{what}: a frame holds less than it should")
    if rest or file.read(1):
        raise BundleError(f"{what}: goes on after its end")


def _parameters() -> zstandard.ZstdCompressionParameters:
    # Long distances in a dictionary are found by these tables alone: long-distance matching, on
    # which high levels rely, does not look into one.
    return zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_LAZY2,
        window_log=_WINDOW_LOG,
        hash_log=_TABLE_LOG,
        chain_log=_TABLE_LOG,
        search_log=5,
        min_match=5,
        target_length=64,
    )


def _pieces(chunks: Iterable[bytes], length: int) -> Iterator[tuple[int, bytes]]:
    """The same bytes in pieces of `length`, each with its place; the last one is shorter."""
    start, piece = 0, bytearray()
    for chunk in chunks:
        piece += chunk
        while len(piece) >= length:
            yield start, bytes(piece[:length])
            del piece[:length]
            start += length
    if piece:
        yield start, bytes(piece)
