"""`airgapbuild lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, ManifestPath, Quiet, Verbose
from airgapbuild.cli.words import size_words

if TYPE_CHECKING:
    from airgapbuild.lockfile import LockedImage
    from airgapbuild.manifest import Manifest
    from airgapbuild.resolve import Change


def lock_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]...", help="With --upgrade: only these images."),
    ] = None,
    *,
    file: ManifestPath = Path("airgapbuild.toml"),
    upgrade: Annotated[
        bool, typer.Option("--upgrade", "-U", help="Ask again for pins that could be kept.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only tell whether the lock is fresh; offline, exit 4 if not."
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Pin every image of the manifest by digest, in airgapbuild.lock.

    Pins whose reference and platforms did not change are kept without asking a registry.

    **Examples**

        airgapbuild lock
        airgapbuild lock --upgrade buildkit
        airgapbuild lock --check
    """
    console = Console("lock", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.inputs import lock_path
        from airgapbuild.errors import UsageError
        from airgapbuild.manifest import read_manifest

        if names and not upgrade:
            raise UsageError("images are named only with --upgrade", hint="lock --upgrade NAME…")
        if check and upgrade:
            raise UsageError("--check changes nothing, --upgrade does: use one of them")
        manifest = read_manifest(file)
        if unknown := sorted(set(names or ()) - manifest.images.keys()):
            known = ", ".join(sorted(manifest.images))
            raise UsageError(f"no image is called {', '.join(unknown)}; there are: {known}")
        if check:
            _check(console, manifest, lock_path(file))
        else:
            wanted = set(names or manifest.images) if upgrade else set()
            _lock(console, manifest, lock_path(file), wanted)


def _check(console: Console, manifest: Manifest, path: Path) -> None:
    from airgapbuild.cli.inputs import fresh_lock

    lock = fresh_lock(manifest, path)
    console.result({"lock": str(path), "fresh": True})
    console.say(f"{path} is fresh: {len(lock.image)} images")


def _lock(console: Console, manifest: Manifest, path: Path, upgrade: set[str]) -> None:
    from airgapbuild.cli.connect import image_source
    from airgapbuild.lockfile import read_lock, write_lock
    from airgapbuild.resolve import changes, resolve

    previous = read_lock(path) if path.exists() else None
    with image_source(manifest, path.parent, console) as source:
        lock = resolve(manifest, source, previous=previous, upgrade=upgrade, progress=console)
    written = write_lock(path, lock)
    happened = changes(previous, lock)
    console.result(
        {
            "lock": str(path),
            "written": written,
            "images": [_document(change) for change in happened],
        }
    )
    console.table(("IMAGE", "REF", "DIGEST", "PLATFORMS", "SIZE", ""), [_row(c) for c in happened])
    console.say(f"{path} {'is written' if written else 'is up to date'}")


def _row(change: Change) -> tuple[str, ...]:
    image = change.new or change.old
    if image is None:
        return ()
    digest = image.digest[:19]
    if change.kind == "moved" and change.old:
        digest = f"{change.old.digest[:19]} → {digest}"
    platforms = ", ".join(str(locked.platform) for locked in image.platform)
    size = size_words(sum(locked.layers_size for locked in image.platform))
    return (change.name, image.ref.familiar, digest, platforms, size, change.kind)


def _document(change: Change) -> dict[str, Any]:
    return {
        "name": change.name,
        "change": change.kind,
        "old": _image_document(change.old),
        "new": _image_document(change.new),
    }


def _image_document(image: LockedImage | None) -> dict[str, Any] | None:
    return image.model_dump(mode="json", by_alias=True) if image else None
