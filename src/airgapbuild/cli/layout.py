"""`airgapbuild layout`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, LayoutPath, Quiet, Verbose
from airgapbuild.words import count_words, size_words

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.reference import Reference

_SHORT = 19

layout_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See and tidy where base and frontend images were loaded.",
)


@layout_app.command("ls")
def ls_command(
    *,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """List the images of the layout, and how much of it belongs to none.

    What belongs to no image goes by airgapbuild layout prune.

    **Examples**

        airgapbuild layout ls
        airgapbuild layout ls --json --layout /srv/layout
    """
    console = Console("layout ls", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.inputs import own_layout
        from airgapbuild.oci.garbage import garbage, held

        shelf = own_layout(layout)
        images = _images(shelf)
        unused = sum(file.size for file in garbage(shelf))
        size = sum(held(shelf).values())
        rows = [
            (
                image["name"],
                image["digest"][:_SHORT],
                ", ".join(image["platforms"]),
                size_words(image["size"]),
            )
            for image in images
        ]
        console.table(("NAME", "DIGEST", "PLATFORMS", "SIZE"), rows)
        told = f"{shelf.path}: {count_words(len(images), 'name')}, {size_words(size)}"
        console.say("; ".join([told, *_tidying(layout, unused)]))
        console.result(
            {"layout": str(shelf.path), "images": images, "size": size, "unused": unused}
        )


@layout_app.command("rm")
def rm_command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="As layout ls lists it, or in its full form."),
    ],
    *,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Take names from the layout, such as those of tags that no bundle has any more.

    Builds no longer find these images; their blobs go by airgapbuild layout prune. Where one of the
    names is not there, none is taken. It waits for a layout prune that is running.

    **Examples**

        airgapbuild layout rm busybox:1.36
        airgapbuild layout rm --layout /srv/layout python:3.12-slim node:20-alpine
    """
    console = Console("layout rm", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.inputs import own_layout
        from airgapbuild.oci.garbage import garbage

        shelf = own_layout(layout)
        chosen = _chosen(shelf, names)
        with shelf.filling():
            shelf.unname({str(name): digest for name, digest in chosen.items()})
        for name in chosen:
            console.say(f"{name.familiar} is taken from {shelf.path}")
        unused = sum(file.size for file in garbage(shelf))
        for line in _tidying(layout, unused):
            console.say(line)
        removed = [{"name": name.familiar, "digest": digest} for name, digest in chosen.items()]
        console.result({"layout": str(shelf.path), "removed": removed, "unused": unused})


@layout_app.command("prune")
def prune_command(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Remove the blobs of the layout that no image in it needs any more.

    An image loses its name when load brings another one for it; what only the old one needed stays
    until now. It waits for loads that are running, so none loses what it has just put there. Builds
    are not waited for: one that began before a name moved may still read the old image.

    **Examples**

        airgapbuild layout prune --dry-run
        airgapbuild layout prune --layout /srv/layout
    """
    console = Console("layout prune", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.inputs import own_layout
        from airgapbuild.oci.garbage import garbage, prune

        shelf = own_layout(layout)
        removed = garbage(shelf) if dry_run else prune(shelf, progress=console)
        size = sum(file.size for file in removed)
        for file in removed:
            console.detail(f"{file.path.name} ({size_words(file.size)})")
        would = "would be removed" if dry_run else "removed"
        console.say(
            f"{shelf.path}: {count_words(len(removed), 'file')} {would}, {size_words(size)}"
        )
        files = [{"file": str(file.path), "size": file.size} for file in removed]
        console.result(
            {"layout": str(shelf.path), "dry-run": dry_run, "removed": files, "size": size}
        )


def _tidying(layout: Path | None, unused: int) -> list[str]:
    """What removes that many bytes which belong to no image; nothing where there are none."""
    from airgapbuild.cli.inputs import layout_option

    prune = f"airgapbuild layout prune{layout_option(layout)}"
    return [f"{prune} removes {size_words(unused)}"] if unused else []


def _chosen(layout: Layout, names: list[str]) -> dict[Reference, Digest]:
    from airgapbuild.errors import UsageError
    from airgapbuild.oci.reference import parse_reference

    held, problems = layout.images(), []
    chosen: dict[Reference, Digest] = {}
    for text in names:
        try:
            name = parse_reference(text)
            chosen[name] = held[name]
        except ValueError as error:
            problems.append(str(error))
        except KeyError:
            problems.append(f"{text}: {layout.path} has no such name")
    if problems:
        raise UsageError(*problems, hint="airgapbuild layout ls lists the names")
    return chosen


def _images(layout: Layout) -> list[dict[str, Any]]:
    from airgapbuild.oci.garbage import held, reachable

    sizes = held(layout)
    return [
        {
            "name": name.familiar,
            "digest": digest,
            "platforms": [str(config.platform) for config in layout.configs(digest)],
            "size": sum(sizes.get(it, 0) for it in reachable(layout, [digest])),
        }
        for name, digest in sorted(layout.images().items())
    ]
