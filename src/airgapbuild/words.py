"""Figures as people read them."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


def size_words(size: float) -> str:
    """A number of bytes, in decimal units: `130.2 MB`."""
    for unit in _UNITS:
        if size < _STEP or unit == _UNITS[-1]:
            break
        size /= _STEP
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def plain(text: str) -> str:
    """The text with what would not print escaped: what a bundle says must not steer a terminal.

    Control characters, line ends, and marks that turn the direction of writing.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def count_words(count: int, one: str) -> str:
    """A number of things: `1 image`, `2 images`."""
    return f"{count} {one}" + ("s" if count != 1 else "")
