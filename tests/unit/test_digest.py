from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.errors import IntegrityError
from airgapbuild.oci.digest import digest_of, encoded, parse_digest, short, verified

CONTENT = b"one two three"
DIGEST = digest_of(CONTENT)


@given(st.binary(max_size=64))
def test_a_digest_of_bytes_parses(content: bytes) -> None:
    digest = digest_of(content)
    assert parse_digest(digest) == digest
    assert encoded(digest) == hashlib.sha256(content).hexdigest()
    assert encoded(digest).startswith(short(digest))


@given(st.text(max_size=90))
def test_any_other_text_is_none(text: str) -> None:
    if len(text) != 71 or not text.startswith("sha256:"):
        with pytest.raises(ValueError, match="is not a digest"):
            parse_digest(text)


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256:../" + "0" * 61,
        "sha256:" + "٣" * 64,
        "sha1:" + "0" * 64,
    ],
)
def test_near_misses_are_none_either(text: str) -> None:
    with pytest.raises(ValueError, match="is not a digest"):
        parse_digest(text)


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_verified_chunks_are_the_chunks(chunks: list[bytes]) -> None:
    content = b"".join(chunks)
    got = verified(iter(chunks), digest_of(content), len(content), "it")
    assert b"".join(got) == content


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([b"one two thre"], r"^it: 12 of the 13 bytes of sha256:"),
        ([b"one two ", b"three!"], r"^it: more than the 13 bytes of sha256:"),
        ([b"one two ", b"thrEe"], r"^it: expected sha256:\w+, got sha256:\w+"),
    ],
)
def test_other_bytes_are_an_error_before_the_last_chunk_is_out(
    chunks: list[bytes], message: str
) -> None:
    out: list[bytes] = []
    with pytest.raises(IntegrityError, match=message):
        out.extend(verified(iter(chunks), DIGEST, len(CONTENT), "it"))
    assert len(out) < len(chunks)
