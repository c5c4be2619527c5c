"""The page's section on what has changed since an earlier bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.report.markup import Child, Markup, tag, together
from airgapbuild.report.pieces import code, count, digits, section, table
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from airgapbuild.diff import Diff, Difference
    from airgapbuild.report.facts import Identity


def changes_section(since: Identity, changes: Diff | None) -> Markup:
    """What differs from an earlier bundle or lock, and how much is new."""
    serial = "" if since.serial is None else f", serial {since.serial}"
    intro = tag(
        "p",
        "Compared with ",
        code(since.name),
        f"{serial}, whose lock has the digest ",
        digits(since.lock),
        ".",
    )
    return section("changes", "What has changed", intro, *_told(changes))


def _told(changes: Diff | None) -> list[Markup]:
    if changes is None:
        return [tag("p", "What has changed cannot be told: this bundle's lock or index is wrong.")]
    about = "" if changes.exact else "about "
    new = tag("p", tag("strong", f"{about}{size_words(changes.size)}"), " of the content is new.")
    if not changes.images and not changes.settings:
        return [tag("p", "No image and no setting differs."), new]
    kinds = [image.kind for image in changes.images]
    told = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    words = f"{count(len(kinds), 'image')} ({', '.join(told)})" if kinds else "no image"
    rows = [
        (tag("span", image.name, tag("em", f" {image.kind}")), *_row(difference))
        for image in changes.images
        for difference in image.differences
    ]
    rows += [(tag("span", "the builder, or the bundle"), *_row(it)) for it in changes.settings]
    summary = f"{words} and {count(len(changes.settings), 'setting')} differ from it."
    return [
        tag("p", summary[:1].upper() + summary[1:]),
        new,
        table("Differences", ("Where", "What", "Before", "Now"), rows),
    ]


def _row(difference: Difference) -> tuple[Child, Child, Child]:
    return code(difference.what), _value(difference.old), _value(difference.new)


def _value(value: str | None) -> Child:
    if value is None:
        return tag("span", "none", class_="aside")
    values = value.split(", ")
    shown = [digits(it) if it.startswith("sha256:") else code(it) for it in values]
    return together(tag("div", it) for it in shown)
