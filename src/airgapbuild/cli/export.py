"""`airgapbuild export`."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, ManifestPath, Quiet, Verbose
from airgapbuild.cli.signing_key import Sign, say_signed, signing_key
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from airgapbuild.bundle.packaging import Packaging
    from airgapbuild.bundle.signature import Signed
    from airgapbuild.export import Exported
    from airgapbuild.manifest import BundleEntry


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
            show_default="bundles/<name>, or bundles/<name>-differential",
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
    sign: Sign = None,
    compact: Annotated[
        bool | None,
        typer.Option(
            "--compact/--exact",
            help="Layers raw under one compression, or as the registry has them.",
            show_default="layers in [bundle], or exact",
        ),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(
            "--level",
            metavar="N",
            min=1,
            max=19,
            help="Of zstd, for compact layers: 1 is fast, 19 is small.",
            show_default="level in [bundle], or 9",
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against",
            metavar="INVENTORY|BUNDLE|LOCK",
            help="Leave out what the receiver holds by it; may be given again.",
        ),
    ] = None,
    with_tool: Annotated[
        bool,
        typer.Option(
            "--with-tool", help="Add airgapbuild itself, in one file; pip fetches what it needs."
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Write the bundle that the lock describes.

    Tarballs, the lock, an index and sums, in one folder. Everything is fetched by digest and
    verified on the way. What is there already, and right, is left alone. No Docker daemon is
    needed, except for images that come from one.

    **Examples**

        airgapbuild export
        airgapbuild export --compact --level 19
        airgapbuild export -o /media/usb/builders
        airgapbuild export --against inventory.json
        airgapbuild export --serial 7 --sign ~/.ssh/id_ed25519
    """
    console = Console("export", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.baseline import read_baseline
        from airgapbuild.bundle.signature import is_signed
        from airgapbuild.cli.inputs import fresh_lock, lock_path
        from airgapbuild.cli.sources import image_source, registry_source
        from airgapbuild.export import export
        from airgapbuild.manifest import read_manifest

        manifest = read_manifest(file)
        packaging = _packaging(manifest.bundle, serial, level, compact=compact)
        lock = fresh_lock(manifest, lock_path(file))
        folder = _folder(output, lock.name, against or [])
        key = signing_key(sign)
        was_signed = is_signed(folder)
        with (
            registry_source(manifest, console) as registries,
            image_source(registries, file.parent) as source,
        ):
            raw = packaging.layers == "compact"
            baseline = read_baseline(against or [], source, raw=raw, progress=console)
            packaging = replace(packaging, with_tool=with_tool, against=baseline)
            exported = export(lock, source, folder, packaging=packaging, progress=console)
        signed = key.sign(folder, console) if key else None
        if was_signed and not is_signed(folder):
            console.note(f"{folder}: its signature was of other sums, and is removed")
        if exported.lost_serial is not None:
            lost = f"its serial {exported.lost_serial} is gone"
            console.note(f"{folder}: {lost}: --serial gives it one")
        console.result(_document(exported, folder, signed))
        _say(console, exported, folder, signed)


def _folder(output: Path | None, name: str, against: list[Path]) -> Path:
    """Where the bundle goes: never in place of one that it builds on."""
    from airgapbuild.errors import UsageError

    folder = output or Path("bundles") / (f"{name}-differential" if against else name)
    if any(folder.resolve() == path.resolve() for path in against):
        raise UsageError(
            f"{folder}: is what the bundle is to be made against",
            hint="choose another folder with -o",
        )
    return folder


def _packaging(
    entry: BundleEntry, serial: int | None, level: int | None, *, compact: bool | None
) -> Packaging:
    """How to pack: what the options say, and else the manifest's [bundle]."""
    from airgapbuild.bundle.packaging import Packaging
    from airgapbuild.errors import UsageError

    plain = Packaging(serial=serial, part_size=entry.part_size)
    if compact is None:
        compact = entry.layers == "compact"
    if not compact:
        if level is not None:
            raise UsageError("--level is for compact layers only", hint="add --compact")
        return plain
    return replace(plain, layers="compact", level=level or entry.level)


def _document(exported: Exported, folder: Path, signed: Signed | None) -> dict[str, Any]:
    return {
        "bundle": str(folder),
        "changed": exported.changed or bool(signed and signed.made),
        "signature": signed and asdict(signed),
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
        "left-out": sum(blob.size for file in exported.index.files for blob in file.requires),
    }


def _say(console: Console, exported: Exported, folder: Path, signed: Signed | None) -> None:
    rows = [
        (file.name, size_words(file.size), "written" if file.name in exported.written else "kept")
        for file in exported.index.files
        if file.image
    ]
    console.table(("TARBALL", "SIZE", ""), rows)
    if left_out := sum(blob.size for file in exported.index.files for blob in file.requires):
        console.say(f"left out: {size_words(left_out)} that the receiver must hold")
    if signed:
        say_signed(console, signed)
    if exported.changed:
        size = size_words(sum(file.size for file in exported.index.files))
        load = f"airgapbuild load {shlex.quote(str(folder))}"
        console.say(f"{folder} is written: {size}; carry it over, then: {load}")
    else:
        console.say(f"{folder} is up to date")
