"""Reading a whole image archive, member by member, and verifying each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.bundle.index import FETCH_AGAIN
from airgapbuild.errors import BundleError
from airgapbuild.oci.archive import BLOCK, END, Member, blob_digest, parse_header
from airgapbuild.oci.content import MAX_DOCUMENT
from airgapbuild.oci.digest import verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.digest import Digest


def walk(chunks: Iterator[bytes], what: str) -> dict[Digest, int]:
    """The blobs of an image archive, each read and verified, with their sizes in bytes.

    Raises:
        BundleError: it is cut, goes on after its end, or has a member that is no part of an image
            archive or comes twice.
        IntegrityError: a blob is not what its name says.
    """
    stream = _Stream(chunks)
    seen: set[str] = set()
    blobs: dict[Digest, int] = {}
    while (block := stream.exactly(BLOCK, what)) != END[:BLOCK]:
        member = _member(block, what)
        if member.name in seen:
            raise BundleError(f"{what}: member '{member.name}' comes twice")
        seen.add(member.name)
        digest = blob_digest(member)
        if digest is None:
            stream.exactly(member.size, what)
        else:
            pieces = (bytes(piece) for piece in stream.read(member.size))
            for _ in verified(pieces, digest, member.size, f"{what}: {member.name}"):
                pass
            blobs[digest] = member.size
        stream.exactly(len(member.padding), what)
    if stream.exactly(BLOCK, what) != END[:BLOCK] or any(stream.read(1)):
        raise BundleError(f"{what}: goes on after its end", hint=FETCH_AGAIN)
    return blobs


class _Stream:
    """Chunks, read by length."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes in pieces; fewer at the end."""
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    return
            piece = self._rest[:size]
            self._rest = self._rest[len(piece) :]
            size -= len(piece)
            yield piece

    def exactly(self, size: int, what: str) -> bytes:
        """The next `size` bytes."""
        data = b"".join(self.read(size))
        if len(data) != size:
            raise BundleError(f"{what}: the tarball is cut short", hint=FETCH_AGAIN)
        return data


def _member(block: bytes, what: str) -> Member:
    try:
        member = parse_header(block)
    except BundleError as error:
        raise BundleError(f"{what}: {error.message}", hint=FETCH_AGAIN) from error
    if blob_digest(member) is None and member.size > MAX_DOCUMENT:
        raise BundleError(f"{what}: member '{member.name}' is too large")
    return member
