"""`airgapbuild join`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose
from airgapbuild.cli.signing_key import Sign, signing_key
from airgapbuild.cli.split import tell


def join_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of the bundle.")],
    *,
    sign: Sign = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Put the parts of a bundle's tarballs together again.

    Only for other programs: load, verify and inspect read through the parts. Each part and each
    tarball is checked. It works in the bundle's folder, needs room for a copy of the largest
    tarball, and can be killed at any moment: nothing is lost, and the next run goes on.

    **Examples**

        airgapbuild join bundles/builders
        airgapbuild join --sign ~/.ssh/id_ed25519 bundles/builders
        airgapbuild join --json /media/usb/builders
    """
    console = Console("join", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.repack import repack_folder

        key = signing_key(sign)
        repacked = repack_folder(bundle, None, progress=console)
        tell(console, repacked, key.sign(bundle, console) if key else None)
