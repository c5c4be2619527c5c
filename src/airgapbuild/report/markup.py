"""HTML that is escaped unless it was built here.

A page shows what a bundle says, and nothing of a bundle is trusted: text is escaped, and characters
that cannot be seen, or turn the order of others round, are shown by their code.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Markup:
    """HTML that may stand in a page as it is."""

    html: str


Child: TypeAlias = "Markup | str"


def tag(name: str, /, *children: Child, **attributes: str) -> Markup:
    """An element.

    Its attributes are named as in HTML, with `_` for `-`, and one more at the end where Python
    keeps the word for itself: `class_`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{together(children).html}</{name}>")


def void(name: str, /, **attributes: str) -> Markup:
    """An element that has no content and no end tag, such as `meta`."""
    return Markup(tag(name, **attributes).html.removesuffix(f"</{name}>"))


def together(children: Iterable[Child]) -> Markup:
    """One after the other, with nothing between them."""
    return Markup(
        "".join(
            child.html if isinstance(child, Markup) else escape(visible(child))
            for child in children
        )
    )


def visible(text: str) -> str:
    """The text with every character that cannot be seen, but a line's end, as its code."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text
    )
