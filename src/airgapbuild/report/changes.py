"""The page's section on what has changed since an earlier bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.report.charts import bar
from airgapbuild.report.markup import Child, Markup, tag, together
from airgapbuild.report.pieces import (
    code,
    digits,
    lines,
    listed,
    section,
    table,
    terms,
)
from airgapbuild.words import count_words, size_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airgapbuild.diff import ChangedImage, Diff, Difference
    from airgapbuild.report.facts import Identity


def changes_section(since: Identity, changes: Diff | None, size: int) -> Markup:
    """What differs from an earlier bundle or lock, and how much of this one's `size` is new."""
    serial = "" if since.serial is None else f", serial {since.serial}"
    intro = tag("p", "Since ", tag("strong", since.name), f"{serial}, of the lock ")
    of = tag("p", digits(since.lock))
    if changes is None:
        words = "What has changed cannot be told: this bundle's lock or index is not right."
        return section("changes", "What has changed", intro, of, tag("p", words))
    return section(
        "changes",
        "What has changed",
        intro,
        of,
        _summary(changes, size),
        *(_image(image) for image in changes.images),
        *([_settings(changes)] if changes.settings else []),
    )


def _summary(changes: Diff, size: int) -> Markup:
    kinds = [image.kind for image in changes.images]
    told = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    about = "" if changes.exact else "about "
    new = f"{about}{size_words(changes.size)} of {size_words(size)}"
    return terms(
        ("Images", listed(told) if told else "the same"),
        (
            "Settings",
            count_words(len(changes.settings), "change") if changes.settings else "the same",
        ),
        ("New content", together([tag("div", new), bar([(changes.size, "own")], size)])),
        class_="summary",
    )


def _image(image: ChangedImage) -> Markup:
    return together(
        [
            tag("h3", image.name, tag("em", f" {image.kind}")),
            _table(f"What differs of {image.name}", image.differences),
        ]
    )


def _settings(changes: Diff) -> Markup:
    return together([tag("h3", "Settings"), _table("Changed settings", changes.settings)])


def _table(caption: str, differences: Iterable[Difference]) -> Markup:
    # What refers to an image is told by type and digest, and the digest is its value, too.
    rows = [
        (code(it.what.partition(" sha256:")[0]), _value(it.old), _value(it.new))
        for it in differences
    ]
    return table(caption, ("What", "Before", "Now"), rows, class_="differences")


def _value(value: str | None) -> Child:
    if value is None:
        return tag("span", "none", class_="aside")
    return lines([digits(it) if it.startswith("sha256:") else code(it) for it in value.split(", ")])
