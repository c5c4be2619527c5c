"""Reading a whole image archive, member by member, and comparing it with the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.bundle.index import FETCH_AGAIN
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.archive import BLOCK, END, Member, blob_digest, parse_header
from airgapbuild.oci.digest import verified

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from airgapbuild.oci.digest import Digest


def walk(
    chunks: Iterator[bytes],
    members: Iterable[Member],
    what: str,
    unread: Container[Digest] = (),
) -> dict[Digest, range]:
    """Where in an image archive each blob lies, once all of it is found to be what it should.

    The archive must hold `members`, in whatever order, and nothing else. Of blobs in `unread` only
    the place counts: what they are told by is not at hand. Their sizes bound what is
    read: a chain of frames that would decode to more is left at the first byte too many.

    Raises:
        BundleError: it is cut, goes on after its end, lacks a member, or has one that is not the
            image's or comes twice.
        IntegrityError: a member's content is another.
    """
    stream = Stream(chunks)
    lacking = {member.name: member for member in members}
    blobs: dict[Digest, range] = {}
    seen: set[str] = set()
    while (block := stream.exactly(BLOCK, what)) != END[:BLOCK]:
        announced = member_of(block, what)
        if announced.name in seen:
            raise BundleError(f"{what}: member '{announced.name}' comes twice", hint=FETCH_AGAIN)
        seen.add(announced.name)
        member = lacking.pop(announced.name, None)
        if member is None:
            raise BundleError(
                f"{what}: member '{announced.name}' is not the image's", hint=FETCH_AGAIN
            )
        if announced.size != member.size:
            raise IntegrityError(
                f"{what}: {member.name}: {announced.size} bytes, expected {member.size}",
                hint=FETCH_AGAIN,
            )
        if digest := blob_digest(member.name):
            blobs[digest] = range(stream.position, stream.position + member.size)
        _read(stream, member, digest, what, is_known=digest not in unread)
        stream.exactly(len(member.padding), what)
    if stream.exactly(BLOCK, what) != END[:BLOCK] or any(stream.read(1)):
        raise BundleError(f"{what}: goes on after its end", hint=FETCH_AGAIN)
    if lacking:
        raise BundleError(f"{what}: lacks {', '.join(sorted(lacking))}", hint=FETCH_AGAIN)
    return blobs


class Stream:
    """Chunks, read by length."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.position = 0
        """How many bytes were read."""

    def read(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes in pieces; fewer at the end."""
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    return
            piece = self._rest[:size]
            self._rest = self._rest[len(piece) :]
            self.position += len(piece)
            size -= len(piece)
            yield piece

    def exactly(self, size: int, what: str) -> bytes:
        """The next `size` bytes."""
        data = b"".join(self.read(size))
        if len(data) != size:
            raise BundleError(f"{what}: the tarball is cut short", hint=FETCH_AGAIN)
        return data


def member_of(block: bytes, what: str) -> Member:
    """The member that a header announces.

    Raises:
        BundleError: see `parse_header`.
    """
    try:
        return parse_header(block)
    except BundleError as error:
        raise BundleError(f"{what}: {error.message}", hint=FETCH_AGAIN) from error


def _read(
    stream: Stream, member: Member, digest: Digest | None, what: str, *, is_known: bool
) -> None:
    """Reads a member's content: a blob is what its digest says, the three others what we write."""
    what = f"{what}: {member.name}"
    if not is_known:
        for _ in stream.read(member.size):
            pass
    elif digest:
        pieces = (bytes(piece) for piece in stream.read(member.size))
        for _ in verified(pieces, digest, member.size, what):
            pass
    elif stream.exactly(member.size, what) != member.data:
        raise IntegrityError(f"{what}: is not what the lock leads to", hint=FETCH_AGAIN)
