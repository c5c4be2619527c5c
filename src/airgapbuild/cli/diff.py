"""`airgapbuild diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from airgapbuild.diff import Diff, Difference

_SHORT = 19


def diff_command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A bundle or a lock.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A bundle or a lock.")],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell what differs between two bundles or locks.

    Images added, removed, moved; their names, roles and platforms; the builder's settings, and the
    serial; and the bytes that NEW has and OLD has not: blob by blob between bundles, about where
    one is a lock. Only bundle.json and the locks are read. A difference is no error: the exit code
    is 0 with and without one, and --json says `changed`.

    **Examples**

        airgapbuild diff /media/usb/builders bundles/builders
        airgapbuild diff --json old.lock airgapbuild.lock
    """
    console = Console("diff", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.diff import diff

        found = diff(old, new)
        changed = bool(found.images or found.settings)
        console.result({"old": str(old), "new": str(new), "changed": changed, **_document(found)})
        if not changed:
            console.say(f"{old} and {new} are the same")
            return
        rows = [
            (image.name, image.kind, *_row(it))
            for image in found.images
            for it in image.differences
        ]
        rows += [("", "changed", *_row(difference)) for difference in found.settings]
        console.table(("IMAGE", "", "WHAT", "OLD", "NEW"), rows)
        about = "" if found.exact else "about "
        console.say(f"new content: {about}{size_words(found.size)}")


def _row(difference: Difference) -> tuple[str, str, str]:
    return difference.what, _cell(difference.old), _cell(difference.new)


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    return value[:_SHORT] if value.startswith("sha256:") else value


def _document(found: Diff) -> dict[str, Any]:
    return {
        "images": [
            {
                "name": image.name,
                "change": image.kind,
                "differences": [_difference(it) for it in image.differences],
            }
            for image in found.images
        ],
        "settings": [_difference(it) for it in found.settings],
        "new-content": {"bytes": found.size, "exact": found.exact},
    }


def _difference(difference: Difference) -> dict[str, str | None]:
    return {"what": difference.what, "old": difference.old, "new": difference.new}
