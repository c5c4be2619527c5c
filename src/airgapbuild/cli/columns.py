"""Tables in as many columns of text as there are: cells are folded where words end."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GAP = "  "
_PIECE = re.compile(r"[^\s/:@,_=-]*[\s/:@,_=-]+|[^\s/:@,_=-]+")
"""What is not torn while there is another way: names and references have few blanks."""
_SHORT = 10
"""What stays on one line: a size and its unit, a word."""
_NARROWEST = 8


def aligned(rows: Sequence[Sequence[str]], room: int | None = None) -> list[list[str]]:
    """The lines of each row, in columns; no longer than `room`, as far as that can be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if room is not None:
        widths = _fitting(rows, widths, room)
    return [list(_lines(row, widths)) for row in rows]


def hanging(beginning: str, text: str, room: int | None = None) -> list[str]:
    """A line whose text goes on below where it began; what has no blanks is not torn."""
    if room is None:
        return [f"{beginning}{text}"]
    below = " " * len(beginning)
    wrapped = wrap(
        text,
        max(room, len(beginning) + _NARROWEST),
        initial_indent=beginning,
        subsequent_indent=below,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped or [beginning.rstrip()]


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    for line in zip_longest(*folded, fillvalue=""):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield _GAP.join(cells).rstrip()


def _fitting(rows: Sequence[Sequence[str]], widths: list[int], room: int) -> list[int]:
    """Narrower widths, as long as there is too little room.

    That column gives way first whose folding adds the fewest lines; of those, the one that gains
    most. Only when no cell can be folded at the end of a word are words torn, of the widest one.
    """
    while sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        narrower = [_narrower(rows, widths, n) for n in range(len(widths))]
        if ways := [way for way in narrower if way]:
            widths = min(ways, key=lambda way: (_height(rows, way), sum(way)))
            continue
        widest = max(widths)
        if widest <= _NARROWEST:
            break
        widths[widths.index(widest)] -= 1
    return widths


def _narrower(rows: Sequence[Sequence[str]], widths: list[int], n: int) -> list[int] | None:
    """The widths with the next narrower one for column `n` that tears no word."""
    if widths[n] <= _SHORT:
        return None
    pieces = (piece.rstrip() for row in rows for piece in _PIECE.findall(row[n]))
    if max(map(len, pieces), default=0) >= widths[n]:
        return None
    longest = max(len(line) for row in rows for line in _folded(row[n], widths[n] - 1))
    return [*widths[:n], longest, *widths[n + 1 :]]


def _height(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> int:
    return sum(max(len(_folded(*it)) for it in zip(row, widths, strict=True)) for row in rows)


@lru_cache(1 << 16)
def _folded(cell: str, width: int) -> tuple[str, ...]:
    """The lines of a cell: whole pieces where they fit, else as much as fits."""
    lines = [""]
    for piece in _PIECE.findall(cell):
        rest = piece
        if len((lines[-1] + rest).rstrip()) > width and lines[-1]:
            lines.append("")
        while len(rest.rstrip()) > width:
            lines[-1], rest = rest[:width], rest[width:]
            lines.append("")
        lines[-1] += rest
    return tuple(line.rstrip() for line in lines)
