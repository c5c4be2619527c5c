"""A layer as what differs from an older one."""

from __future__ import annotations

import io
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.bundle.delta import Scale, decoded_against, encoded
from airgapbuild.errors import BundleError

SCALE = Scale(piece=4096, reach=2048)


class Held:
    """An older layer in memory, that tells how much of it is asked for at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)
        self.most = 0

    def read_at(self, offset: int, size: int) -> bytes:
        assert offset >= 0
        self.most = max(self.most, size)
        return self._content[offset : offset + size]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def encode(new: bytes, old: bytes, chunk: int = 1000) -> bytes:
    chunks = (new[at : at + chunk] for at in range(0, len(new), chunk))
    return b"".join(encoded(chunks, len(new), Held(old), SCALE))


def decode(delta: bytes, size: int, old: bytes) -> bytes:
    return b"".join(decoded_against(io.BytesIO(delta), size, Held(old), "layer", SCALE))


@given(old=st.binary(max_size=9000), new=st.binary(max_size=9000), chunk=st.integers(1, 5000))
def test_what_was_encoded_comes_back(old: bytes, new: bytes, chunk: int) -> None:
    assert decode(encode(new, old, chunk), len(new), old) == new


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 20000])
def test_pieces_of_every_size(size: int) -> None:
    old, new = noise(15000), noise(size, seed=2)
    assert decode(encode(new, old), size, old) == new


def test_the_chunks_in_which_it_came_do_not_change_a_byte() -> None:
    old, new = noise(20000), noise(20000, seed=2)
    assert encode(new, old, 1) == encode(new, old, 4096) == encode(new, old, 50000)


def test_what_the_old_layer_has_is_next_to_nothing() -> None:
    old = noise(40000)
    new = old[:9000] + noise(100, seed=2) + old[9000:]
    assert len(encode(new, old)) < 1000
    assert len(encode(new, b"")) > 40000


def test_a_layer_of_another_size_is_referred_to_in_proportion() -> None:
    old = noise(60000)
    new = old[30000:]  # the second half of it only: far from its old place
    assert decode(encode(new, old), len(new), old) == new


def test_no_more_than_a_piece_and_its_surroundings_is_asked_of_the_old_layer() -> None:
    held = Held(noise(60000))
    list(encoded([noise(60000, seed=2)], 60000, held, SCALE))
    assert held.most == SCALE.piece + 2 * SCALE.reach


def test_another_old_layer_does_not_do() -> None:
    old = noise(20000)
    delta = encode(old, old)
    try:
        found = decode(delta, 20000, noise(20000, seed=2))
    except BundleError:
        return
    assert found != old  # its digest tells


def test_a_cut_one_is_refused() -> None:
    """Also where all of the layer has come out, but the frame goes on."""
    old, new = noise(20000), noise(20000, seed=2)
    delta = encode(new, old)
    for cut in (*range(0, len(delta), 997), len(delta) - 1):
        with pytest.raises(BundleError, match="a frame is cut short"):
            decode(delta[:cut], 20000, old)


@pytest.mark.parametrize(
    ("delta", "size", "words"),
    [
        (b"no frame at all", 100, "not zstd"),
        (encode(noise(100), b"") + b"more", 100, "goes on after its end"),
        (encode(noise(101), b""), 100, "more than it should"),
        (encode(noise(5000), b"")[:4200], 99, "more than it should"),
        (encode(noise(99), b""), 100, "less than it should"),
    ],
)
def test_what_is_no_delta(delta: bytes, size: int, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        decode(delta, size, b"")


def test_a_frame_that_stands_for_far_too_much_is_left() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    seen: list[int] = []
    chunks = decoded_against(io.BytesIO(bomb), 5000, Held(b""), "layer", SCALE)
    with pytest.raises(BundleError, match="layer"):
        seen.extend(len(chunk) for chunk in chunks)
    assert sum(seen) <= SCALE.piece
