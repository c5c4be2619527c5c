"""`airgapbuild export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, ManifestPath, Quiet, Verbose
from airgapbuild.cli.words import size_words

if TYPE_CHECKING:
    from airgapbuild.export import Exported


def export_command(
    *,
    file: ManifestPath = Path("airgapbuild.toml"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The bundle's folder.",
            show_default="bundles/<name>",
        ),
    ] = None,
    serial: Annotated[
        int | None,
        typer.Option(
            "--serial",
            metavar="N",
            min=0,
            help="A number that grows from bundle to bundle: load --min-serial refuses older ones.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Write the bundle that the lock describes: tarballs, lock, index and sums.

    Everything is fetched by digest and verified on the way. What is there already, and right, is
    left alone. No Docker daemon is needed, except for images that come from one.

    **Examples**

        airgapbuild export
        airgapbuild export -o /media/usb/builders
    """
    console = Console("export", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.bundle.packaging import Packaging
        from airgapbuild.cli.connect import image_source, registry_source
        from airgapbuild.cli.inputs import fresh_lock, lock_path
        from airgapbuild.export import export
        from airgapbuild.manifest import read_manifest

        manifest = read_manifest(file)
        lock = fresh_lock(manifest, lock_path(file))
        packaging = Packaging(serial=serial, part_size=manifest.bundle.part_size)
        folder = output or Path("bundles") / lock.name
        with (
            registry_source(manifest, console) as registries,
            image_source(registries, file.parent) as source,
        ):
            exported = export(lock, source, folder, packaging=packaging, progress=console)
        console.result(_document(exported, folder))
        _say(console, exported, folder)


def _document(exported: Exported, folder: Path) -> dict[str, Any]:
    return {
        "bundle": str(folder),
        "changed": exported.changed,
        "fetched": exported.fetched,
        "written": list(exported.written),
        "files": [
            {
                "name": file.name,
                "size": file.size,
                "sha256": file.sha256,
                "parts": [part.name for part in file.parts],
            }
            for file in exported.index.files
        ],
    }


def _say(console: Console, exported: Exported, folder: Path) -> None:
    rows = [
        (file.name, size_words(file.size), "written" if file.name in exported.written else "kept")
        for file in exported.index.files
        if file.image
    ]
    console.table(("TARBALL", "SIZE", ""), rows)
    if exported.changed:
        size = size_words(sum(file.size for file in exported.index.files))
        console.say(f"{folder} is written: {size}; carry it over, then: airgapbuild load {folder}")
    else:
        console.say(f"{folder} is up to date")
