"""Which bytes a Range header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.mirror.ranges import UnsatisfiableError, parse_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-9", range(10)),
        ("bytes=3-", range(3, 10)),
        ("bytes=9-", range(9, 10)),
        ("bytes=-1", range(9, 10)),
        ("bytes=-10", range(10)),
        ("bytes=-99999999999999999999"[:26], range(10)),
        ("bytes=4-99999", range(4, 10)),
        ("Bytes= 4-5 ", range(4, 6)),
    ],
)
def test_a_range_is_what_of_it_is_there(text: str, expected: range) -> None:
    assert parse_range(text, 10) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=5-4"),
        *("bytes=0-1,4-5", "items=0-1", "bytes=+1-2", "bytes=1-\u0662", "bytes=" + "9" * 5000),
    ],
)
def test_the_whole_is_given_where_it_makes_no_sense_or_asks_for_several(text: str | None) -> None:
    assert parse_range(text, 10) is None


@pytest.mark.parametrize(
    ("text", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_what_lies_behind_the_end_cannot_be_had(text: str, size: int) -> None:
    with pytest.raises(UnsatisfiableError):
        parse_range(text, size)


@given(st.text("bytes=0123456789-, ", max_size=20), st.integers(0, 200))
def test_it_never_leaves_what_is_there(text: str, size: int) -> None:
    try:
        found = parse_range(f"bytes={text}", size)
    except UnsatisfiableError:
        return
    assert found is None or 0 <= found.start < found.stop <= size
