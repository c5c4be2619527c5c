"""`airgapbuild outdated`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from airgapbuild.cli.console import Color, Console, error_document
from airgapbuild.cli.options import ColorWhen, Json, ManifestPath, Quiet, Verbose

if TYPE_CHECKING:
    from airgapbuild.outdated import Standing


def outdated_command(
    *,
    file: ManifestPath = Path("airgapbuild.toml"),
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell which pins have newer versions, moved tags, or are gone.

    A newer version is a tag of the same form: after v0.34.2 comes v0.35.0, and 3.13-slim stays
    slim. Nothing is changed, and what is outdated is no error.

    **Examples**

        airgapbuild outdated
        airgapbuild outdated --json
    """
    console = Console("outdated", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.inputs import fresh_lock, lock_path
        from airgapbuild.cli.sources import registry_source
        from airgapbuild.manifest import read_manifest
        from airgapbuild.outdated import outdated

        manifest = read_manifest(file)
        lock = fresh_lock(manifest, lock_path(file))
        with registry_source(manifest, console) as source:
            standings = outdated(lock, source, progress=console)
        console.result({"lock": str(lock_path(file)), "images": [_document(s) for s in standings]})
        console.table(("IMAGE", "REF", "NEWEST", ""), [_row(standing) for standing in standings])
        _say_what_helps(console, standings)
        _raise_failed(console, standings)


def _document(standing: Standing) -> dict[str, Any]:
    image, error = standing.image, standing.error
    return {
        "name": image.name,
        "ref": image.ref.familiar,
        "digest": image.digest,
        "tagged": standing.tagged,
        "moved": None if error else standing.moved,
        "served": standing.served,
        "newer": None if standing.newer is None else list(standing.newer),
        "error": error_document(error) if error else None,
    }


def _row(standing: Standing) -> tuple[str, ...]:
    image = standing.image
    newest = "?" if standing.newer is None else (*("-",), *standing.newer)[-1]
    return (image.name, image.ref.familiar, newest, _findings(standing))


def _findings(standing: Standing) -> str:
    """What is to be said of an image, in a few words."""
    if standing.error:
        return f"error: {standing.error.message}"
    image = standing.image
    told = {
        "newer": bool(standing.newer),
        "the registry lists no tags": standing.newer is None,
        f"moved: {image.digest[:19]} → {(standing.tagged or '')[:19]}": standing.moved,
        "the tag is gone": standing.untagged,
        "the pin is no longer served": not standing.served,
    }
    return "; ".join(words for words, true in told.items() if true) or "up to date"


def _say_what_helps(console: Console, standings: tuple[Standing, ...]) -> None:
    if any(standing.newer for standing in standings):
        console.say("for a newer version: change ref in the manifest, then: airgapbuild lock")
    if moved := [standing.image.name for standing in standings if standing.moved]:
        console.say(f"to follow a moved tag: airgapbuild lock --upgrade {' '.join(moved)}")


def _raise_failed(console: Console, standings: tuple[Standing, ...]) -> None:
    """Ends the command with the code of the first error, if there is one: the rows have them."""
    from airgapbuild.errors import RegistryError

    failed = {standing.image.name: standing.error for standing in standings if standing.error}
    first = next(iter(failed.values()), None)
    if first is None:
        return
    count = f"{len(failed)} of {len(standings)} images"
    message = f"{count} could not be looked up: {', '.join(failed)}"
    console.complain(RegistryError(message, hint=first.hint))
    raise typer.Exit(first.exit_code)
