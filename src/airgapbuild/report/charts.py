"""Sizes, drawn. The figures stand beside them as text, so that no drawing has to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.report.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 1000
_HEIGHT = 12
_GAP = 2


def bar(pieces: Iterable[tuple[int, str]], whole: int) -> Markup:
    """A bar of pieces with a size and a class each, as long as their share of `whole`.

    It has no style attribute, which the page's policy would refuse.
    """
    drawn, at = [_piece(0, _WIDTH, "track")], 0
    for size, kind in pieces:
        start, at = at, at + size
        left, right = (_WIDTH * edge // max(whole, 1) for edge in (start, at))
        drawn.append(_piece(left, max(right - left - _GAP, _GAP), kind))
    return tag(
        "svg",
        *drawn,
        class_="bar",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def _piece(left: int, width: int, kind: str) -> Markup:
    return tag("rect", x=str(left), width=str(width), height=str(_HEIGHT), class_=kind)
