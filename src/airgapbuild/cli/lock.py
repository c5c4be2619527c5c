"""`airgapbuild lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, ManifestPath, Quiet, Verbose
from airgapbuild.words import count_words, size_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airgapbuild.lockfile import Lock, LockedImage
    from airgapbuild.manifest import Manifest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.registry import RegistrySource
    from airgapbuild.resolve import Change

_WORKERS = 8


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
    """Pin every image of the manifest, in airgapbuild.lock.

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
    console.say(f"{path} is fresh: {count_words(len(lock.image), 'image')}")


def _lock(console: Console, manifest: Manifest, path: Path, upgrade: set[str]) -> None:
    from airgapbuild.cli.sources import image_source, registry_source
    from airgapbuild.files import mode_of
    from airgapbuild.lockfile import read_lock, write_lock
    from airgapbuild.resolve import changes, resolve

    previous = read_lock(path, own=True) if mode_of(path) is not None else None
    with (
        registry_source(manifest, console) as registries,
        image_source(registries, path.parent) as source,
    ):
        lock = resolve(manifest, source, previous=previous, upgrade=upgrade, progress=console)
        written = write_lock(path, lock)
        answered = {image.name: registries.answered(image.ref) for image in lock.image}
        _warn_of_floating(console, [it for it in lock.image if answered[it.name]], registries)
    happened = changes(previous, lock)
    tables = {table: _table_change(table, previous, lock) for table in ("builder", "buildkitd")}
    console.result(
        {
            "lock": str(path),
            "written": written,
            "images": [_document(change, answered.get(change.name)) for change in happened],
            **tables,
        }
    )
    console.table(("IMAGE", "REF", "DIGEST", "PLATFORMS", "SIZE", ""), [_row(c) for c in happened])
    for table, change in tables.items():
        if change["old"] != change["new"] and previous:
            console.say(f"[{table}] has changed")
    console.say(f"{path} {'is written' if written else 'is up to date'}")


def _warn_of_floating(
    console: Console, asked: Iterable[LockedImage], source: RegistrySource
) -> None:
    """Says which of the images that were pinned anew have a tag that will move on."""
    from airgapbuild.floating import floats, versioned
    from airgapbuild.threads import pool

    images = list(filter(floats, asked))
    with pool(_WORKERS, "floating") as threads:
        tags = list(threads.map(lambda image: versioned(image, source), images))
    for image, tag in zip(images, tags, strict=True):
        is_now = f"; today it is {image.ref.with_tag(tag).familiar}" if tag else ""
        console.note(f"images.{image.name}: {image.ref.familiar} is a floating tag{is_now}")


def _row(change: Change) -> tuple[str, ...]:
    old, new = change.old or change.new, change.new or change.old
    if old is None or new is None:
        return ()
    size = size_words(sum(locked.layers_size for locked in new.platform))
    return (
        change.name,
        _ref_words(old.ref, new.ref),
        _both(old.digest[:19], new.digest[:19]),
        _both(*(", ".join(str(it.platform) for it in image.platform) for image in (old, new))),
        size,
        f"{change.kind}{_unseen(old, new)}",
    )


def _ref_words(old: Reference, new: Reference) -> str:
    """The reference; where only its tag has changed, the new one is that tag alone."""
    only_tag = (old.name, old.digest) == (new.name, new.digest)
    return _both(old.familiar, new.familiar, new.tag if only_tag else None)


def _unseen(old: LockedImage, new: LockedImage) -> str:
    """What else has changed of an image, which has no column."""
    tags = [", ".join(tag.familiar for tag in image.tags) or "none" for image in (old, new)]
    told: dict[str, Sequence[str]] = {
        "role": (old.role, new.role),
        "daemon": [str(image.daemon).lower() for image in (old, new)],
        "tags": tags,
    }
    words = [f"{key} {_both(*pair)}" for key, pair in told.items() if pair[0] != pair[1]]
    return f": {'; '.join(words)}" if words else ""


def _both(old: str, new: str, shown: str | None = None) -> str:
    """The old and the new of something, or the one that both are."""
    return new if old == new else f"{old} → {shown or new}"


def _document(change: Change, answered: str | None) -> dict[str, Any]:
    return {
        "name": change.name,
        "change": change.kind,
        "source": answered,
        "old": _image_document(change.old),
        "new": _image_document(change.new),
    }


def _image_document(image: LockedImage | None) -> dict[str, Any] | None:
    return image.model_dump(mode="json", by_alias=True) if image else None


def _table_change(table: str, old: Lock | None, new: Lock) -> dict[str, Any]:
    """A table of the lock before and after."""
    values = (getattr(lock, table) if lock else None for lock in (old, new))
    dumped = (
        value.model_dump(mode="json", by_alias=True, exclude_defaults=True) if value else None
        for value in values
    )
    return dict(zip(("old", "new"), dumped, strict=True))
