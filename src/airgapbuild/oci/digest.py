"""Digests, and reading that verifies.

Source: OCI image specification, descriptor.md, "Digests". Only sha256 is accepted: it is what every
registry and engine in use writes, and one algorithm leaves no room for two names of one content.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, NewType

from pydantic import AfterValidator

from airgapbuild.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits. Made by `parse_digest` or `digest_of` only."""


def parse_digest(text: str) -> Digest:
    """The digest that `text` is.

    Raises:
        ValueError: it is none. Nothing may be done with a digest that was not parsed: as part of a
            path or an URL it would lead anywhere (CVE-2024-3727).
    """
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"'{text[:100]}' is not a digest: sha256: and 64 hexadecimal digits")
    return Digest(text)


DigestField = Annotated[Digest, AfterValidator(parse_digest)]
"""A digest as a field of a pydantic model."""


def digest_of(content: bytes) -> Digest:
    """The digest of these bytes."""
    return Digest("sha256:" + hashlib.sha256(content).hexdigest())


def encoded(digest: Digest) -> str:
    """The 64 hexadecimal digits: a blob's file name."""
    return digest.removeprefix("sha256:")


def short(digest: Digest) -> str:
    """The first twelve digits, as Docker shows an ID."""
    return encoded(digest)[:12]


def matches(chunks: Iterable[bytes], digest: Digest, size: int) -> bool:
    """Whether these chunks are `size` bytes of this digest; they are read to know."""
    try:
        for _ in verified(chunks, digest, size, "content"):
            pass
    except IntegrityError:
        return False
    return True


def verified(chunks: Iterable[bytes], digest: Digest, size: int, what: object) -> Iterator[bytes]:
    """The same chunks; the last one is given out only when the whole is what it should be.

    A consumer that reads to the end without an error has read `size` bytes of this digest. No more
    than `size` bytes are ever given out.

    Raises:
        IntegrityError: too many bytes, too few, or others.
    """
    hasher = hashlib.sha256()
    seen = 0
    held = b""
    for chunk in chunks:
        seen += len(chunk)
        if seen > size:
            raise IntegrityError(f"{what}: more than the {size} bytes of {digest}")
        hasher.update(chunk)
        if held:
            yield held
        held = chunk
    if seen != size:
        raise IntegrityError(f"{what}: {seen} of the {size} bytes of {digest}")
    if (got := "sha256:" + hasher.hexdigest()) != digest:
        raise IntegrityError(f"{what}: expected {digest}, got {got}")
    if held:
        yield held
