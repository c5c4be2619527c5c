"""`airgapbuild inventory`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, HostUrl, Json, LayoutPath, Quiet, Verbose
from airgapbuild.words import count_words


def inventory_command(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ] = Path("inventory.json"),
    host: HostUrl = None,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Write down what is here, so that export can leave it out.

    It is made to cross the gap outwards: the daemon's platform and kind of store, the diff IDs of
    its images' layers, and the digests and sizes of the layout's blobs. No names, no hosts.

    **Examples**

        airgapbuild inventory
        airgapbuild inventory -o /media/usb/inventory.json
    """
    console = Console("inventory", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.connect import daemon_at
        from airgapbuild.cli.inputs import own_layout
        from airgapbuild.engine.endpoint import find_endpoint
        from airgapbuild.inventory import take_inventory, write_inventory

        with daemon_at(find_endpoint(host, os.environ), console) as daemon:
            taken = take_inventory(daemon, own_layout(layout))
        changed = write_inventory(output, taken)
        images, blobs = len(taken.images), len(taken.blobs)
        console.result(
            {"inventory": str(output), "changed": changed, "images": images, "blobs": blobs}
        )
        held = f"{count_words(images, 'image')} of the daemon"
        console.say(f"{output} is written: {held}, {count_words(blobs, 'blob')} of the layout")
        console.say(
            f"on the connected side: airgapbuild export --against {shlex.quote(output.name)}"
        )
