"""What the sections of the page are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.report.markup import Child, Markup, tag, together, void

if TYPE_CHECKING:
    from collections.abc import Sequence

_GROUP = 16
_LONGEST = 300


def section(name: str, title: str, *children: Child) -> Markup:
    """A section with a heading, by which it is called."""
    heading = f"{name}-title"
    return tag("section", tag("h2", title, id=heading), *children, id=name, aria_labelledby=heading)


def table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[Child]], **attributes: str
) -> Markup:
    """A table whose first cells head their rows.

    On a narrow screen each row is a card, to which every cell brings its column's name along.
    """
    head = tag("tr", *(tag("th", column, scope="col") for column in columns))
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *(_row(columns, row) for row in rows)),
        **attributes,
    )


def _row(columns: Sequence[str], row: Sequence[Child]) -> Markup:
    first, *rest = row
    cells = zip(columns[1:], rest, strict=True)
    return tag(
        "tr",
        tag("th", first, scope="row"),
        *(tag("td", cell, data_column=column) for column, cell in cells),
    )


def terms(*pairs: tuple[str, Child], **attributes: str) -> Markup:
    """A list of terms and what they are."""
    return tag(
        "dl",
        *(tag("div", tag("dt", term), tag("dd", value)) for term, value in pairs),
        **attributes,
    )


def digits(value: str) -> Markup:
    """A digest or a sum in full. It may wrap between its groups, and is copied without a space."""
    algorithm, colon, hexadecimal = value.rpartition(":")
    groups = [hexadecimal[at : at + _GROUP] for at in range(0, len(hexadecimal), _GROUP)]
    parts: list[Child] = [algorithm + colon] if colon else []
    return tag("code", *_breakable([*parts, *groups]), class_="digits")


def _breakable(parts: Sequence[Child]) -> list[Child]:
    return [piece for part in parts for piece in (part, void("wbr"))][:-1]


def code(text: str) -> Markup:
    """Text as a machine has it. Where it is too long to be read, its beginning and its length."""
    if len(text) > _LONGEST:
        return tag("code", text[:_LONGEST], tag("em", f"… ({len(text)} characters)"))
    return tag("code", text)


def lines(children: Sequence[Child]) -> Markup:
    """Each on a line of its own."""
    return together(tag("div", child) for child in children)


def block(label: str, text: str) -> Markup:
    """Lines as they are, in a box that scrolls by itself, with the keyboard as well."""
    return tag("pre", tag("code", text), tabindex="0", role="region", aria_label=label)


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
