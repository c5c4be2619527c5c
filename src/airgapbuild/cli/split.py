"""`airgapbuild split`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose
from airgapbuild.cli.signing_key import Sign, say_signed, signing_key
from airgapbuild.words import count_words, size_words

if TYPE_CHECKING:
    from airgapbuild.bundle.signature import Signed
    from airgapbuild.repack import Repacked


def split_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of the bundle.")],
    *,
    size: Annotated[
        str, typer.Option("--size", metavar="SIZE", help="Of a part at most: 1900MiB, 100MB, …")
    ] = "1900MiB",
    sign: Sign = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Cut a bundle's tarballs into parts of a size that fits.

    A larger tarball becomes x.001, x.002, …, each with its own sum; cat of them is the tarball.
    load, verify and inspect read through the parts. What comes out is what export writes with this
    part-size. It works in the bundle's folder, needs room for a copy of the largest tarball, and
    can be killed at any moment: nothing is lost, and the next run goes on.

    **Examples**

        airgapbuild split bundles/builders
        airgapbuild split --size 100MB --sign ~/.ssh/id_ed25519 /media/usb/builders
    """
    console = Console("split", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.errors import UsageError
        from airgapbuild.manifest import parse_part_size
        from airgapbuild.repack import repack_folder

        try:
            part_size = parse_part_size(int(size) if size.isdecimal() else size)
        except ValueError as error:
            raise UsageError(f"--size: {error}") from error
        key = signing_key(sign)
        repacked = repack_folder(bundle, part_size, progress=console)
        tell(console, repacked, key.sign(bundle, console) if key else None)


def tell(console: Console, repacked: Repacked, signed: Signed | None) -> None:
    """Says what a bundle's tarballs lie in now, and who has signed it."""
    folder = repacked.bundle.folder
    console.result(_document(repacked, signed))
    rows = [
        (part.name, size_words(part.size), "written" if file.name in repacked.written else "kept")
        for file in repacked.bundle.index.files
        if file.image
        for part in file.stored
    ]
    console.table(("FILE", "SIZE", ""), rows)
    written = len(repacked.written)
    told = f"{count_words(written, 'tarball')} {'is' if written == 1 else 'are'} packed anew"
    console.say(f"{folder}: {told if repacked.written else 'is packed like this already'}")
    if signed:
        say_signed(console, signed)
    elif repacked.unsigned:
        console.note("the signature was of the old SHA256SUMS and is removed: --sign makes another")


def _document(repacked: Repacked, signed: Signed | None) -> dict[str, Any]:
    return {
        "bundle": str(repacked.bundle.folder),
        "changed": bool(repacked.written or (signed and signed.made)),
        "written": list(repacked.written),
        "signature": signed and asdict(signed),
        "signature-removed": repacked.unsigned,
        "files": [
            {
                "name": file.name,
                "size": file.size,
                "sha256": file.sha256,
                "parts": [part.name for part in file.parts],
            }
            for file in repacked.bundle.index.files
        ],
    }
