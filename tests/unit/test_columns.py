from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.cli.columns import aligned, hanging
from airgapbuild.cli.console import Color, Console
from tests.support.program import environment
from tests.support.terminal import Typist

BOTH = "linux/amd64, linux/arm64"
COLUMNS = ("IMAGE", "REF", "DIGEST", "PLATFORMS", "SIZE", "")
ROWS = (
    ("buildkit", "moby/buildkit:v0.34.2", "sha256:1c016736e633", BOTH, "185.3 MB", "added"),
    ("busybox", "busybox:1.37.0", "sha256:52e55e8898e8", "linux/amd64", "2.2 MB", "added"),
)
FOLDED = """\
IMAGE     REF             DIGEST               PLATFORMS     SIZE
buildkit  moby/buildkit:  sha256:1c016736e633  linux/amd64,  185.3 MB  added
          v0.34.2                              linux/arm64
busybox   busybox:1.37.0  sha256:52e55e8898e8  linux/amd64   2.2 MB    added
"""
TELL = "from tests.unit.test_columns import tell; tell()"


def tell() -> None:
    console = Console("test", as_json=False, quiet=False, verbose=False, color=Color.NEVER)
    console.table(COLUMNS, ROWS)


def test_a_terminal_that_is_too_narrow_gets_its_cells_folded() -> None:
    env = environment({"COLUMNS": "80", "TERM": "xterm"})
    typist = Typist((sys.executable, "-c", TELL), Path.cwd(), env)
    assert typist.end() == 0
    told = re.sub(r"\x1b\[\d+m|\r", "", typist.told.decode())
    assert told == FOLDED


def test_a_file_gets_a_line_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tell()
    lines = capsys.readouterr().out.splitlines()
    assert [len(line) for line in lines] == [84, 95, 95]


def test_a_word_is_torn_only_where_nothing_else_helps() -> None:
    rows = [("a longer word", "abcdefghijklmnopqrst")]
    assert aligned(rows, 35) == [["a longer word  abcdefghijklmnopqrst"]]
    assert aligned(rows, 34) == [["a longer  abcdefghijklmnopqrst", "word"]]
    assert aligned(rows, 24) == [["a longer  abcdefghijklmn", "word      opqrst"]]


def test_a_text_goes_on_below_where_it_began() -> None:
    told = "the builder is asked at tcp://builder.example:2376, which is long"
    assert hanging("ok   ", told) == [f"ok   {told}"]
    assert hanging("ok   ", told, 30) == [
        "ok   the builder is asked at",
        "     tcp://builder.example:2376,",
        "     which is long",
    ]


CELLS = st.text("ab/: ", max_size=30)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1), st.integers(20, 80))
def test_nothing_is_lost_and_nothing_too_long(rows: list[tuple[str, str]], room: int) -> None:
    told = aligned(rows, room)
    assert all(len(line) <= room for lines in told for line in lines)
    for row, lines in zip(rows, told, strict=True):
        assert sorted("".join(lines).replace(" ", "")) == sorted("".join(row).replace(" ", ""))
