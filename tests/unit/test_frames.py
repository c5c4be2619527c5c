from __future__ import annotations

import io

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.frames import FRAME, decoded, frame_at, frames_of, spans, stored_length
from airgapbuild.errors import BundleError

SIZES = st.one_of(
    st.integers(0, 300_000),
    st.sampled_from([1, 131_072, 131_073, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME + 131_072]),
)


def store(content: bytes, cuts: list[int]) -> bytes:
    """The frames of some content, written in chunks that end at `cuts`, last chunk first."""
    file = bytearray(stored_length(len(content)))
    starts = {frame.start for frame in frames_of(len(content))}
    ends = sorted({cut for cut in (*cuts, *starts) if 0 < cut < len(content)} | {len(content)})
    for start, end in reversed(list(zip([0, *ends], ends, strict=False))):
        if end == 0:
            continue
        frame = frame_at(len(content), start)
        file[frame.offset : frame.offset + len(frame.header)] = frame.header
        offset, pieces = frame.pieces(start, memoryview(content)[start:end])
        for piece in pieces:
            file[offset : offset + len(piece)] = piece
            offset += len(piece)
    return bytes(file)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.lists(st.integers(1, 2 * FRAME), max_size=5))
def test_any_zstd_reader_gives_the_content_back_however_it_was_cut(
    size: int, cuts: list[int]
) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    stored = store(content, cuts)
    with zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(stored), read_across_frames=True
    ) as reader:
        assert reader.read() == content
    assert b"".join(decoded(io.BytesIO(stored), len(stored), "file")) == content
    frames = list(frames_of(size))
    raws = [stored[frame.offset : frame.offset + frame.length] for frame in frames]
    pieces = [b"".join(f.content(raw)) for f, raw in zip(frames, raws, strict=True)]
    assert b"".join(pieces) == content
    assert sum(frame.length for frame in frames) == len(stored)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(0, 2 * FRAME), st.integers(0, 2 * FRAME))
def test_any_bytes_lie_in_the_frames_as_they_are(size: int, one: int, other: int) -> None:
    start, stop = sorted((min(one, size), min(other, size)))
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    stored = store(content, [])
    found = [stored[offset : offset + length] for offset, length in spans(size, start, stop)]
    assert b"".join(found) == content[start:stop]


def test_the_frames_do_not_depend_on_the_chunks() -> None:
    content = bytes(FRAME + 5)
    assert store(content, []) == store(content, [1, 131_072, FRAME, FRAME + 1])


def test_storing_costs_less_than_a_permille() -> None:
    assert stored_length(1 << 30) < (1 << 30) * 1.0001


def test_only_the_next_length_bytes_are_decoded() -> None:
    first, second = store(b"first", []), store(b"second", [])
    file = io.BytesIO(first + second)
    assert b"".join(decoded(file, len(first), "file")) == b"first"
    assert b"".join(decoded(file, len(second), "file")) == b"second"


def test_what_is_not_zstd_is_refused_by_name() -> None:
    with pytest.raises(BundleError, match=r"^x\.zst: not zstd"):
        list(decoded(io.BytesIO(b"no zstd at all"), 14, "x.zst"))
