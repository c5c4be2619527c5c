"""Bytes read where they lie, whatever lies between them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airgapbuild.extents import CacheReader, Extent, batches, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 8)
    return file


@pytest.fixture
def handle(path: Path) -> Iterator[int]:
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


def test_what_lies_close_together_is_read_at_once(path: Path, handle: int) -> None:
    extents = [Extent(path, 10, 5), Extent(path, 18, 5), Extent(path, 26, 5)]
    [batch] = batches(extents, 100)
    expected = bytes((*range(10, 15), *range(18, 23), *range(26, 31)))
    assert read(handle, batch) == expected
    # Some file systems, such as tmpfs, do not tell what they have in memory.
    assert CacheReader(100).read(handle, batch) == (expected if tells(handle) else None)


def tells(handle: int) -> bool:
    try:
        return os.preadv(handle, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:
        return False


def test_batches_are_of_one_file_forward_near_and_not_too_large(path: Path) -> None:
    other = path.with_name("other")
    extents = [
        *(Extent(path, 0, 30), Extent(path, 33, 30), Extent(other, 66, 10), Extent(other, 0, 10)),
        *(Extent(other, 500, 10), Extent(other, 510, 95)),
    ]
    found = [
        [(it.path.name, it.offset, it.length) for it in batch] for batch in batches(extents, 40)
    ]
    assert found == [
        [("file", 0, 30)],
        [("file", 33, 30)],
        [("other", 66, 10)],
        [("other", 0, 10)],
        [("other", 500, 10)],
        [("other", 510, 40)],
        [("other", 550, 40)],
        [("other", 590, 15)],
    ]


def test_a_file_that_is_too_short_is_an_error_that_names_it(path: Path, handle: int) -> None:
    [batch] = batches([Extent(path, 2040, 20)], 100)
    with pytest.raises(OSError, match="ends before it should") as caught:
        read(handle, batch)
    assert caught.value.filename == str(path)
    assert CacheReader(100).read(handle, batch) is None


def test_a_pipe_is_nothing_that_is_in_memory(path: Path) -> None:
    out, into = os.pipe()
    [batch] = batches([Extent(path, 0, 20)], 100)
    assert CacheReader(100).read(out, batch) is None
    os.close(out)
    os.close(into)
