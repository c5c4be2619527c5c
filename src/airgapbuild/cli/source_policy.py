"""`airgapbuild source-policy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose


def source_policy_command(
    lock: Annotated[
        Path, typer.Argument(metavar="[LOCK]", help="The lock; each bundle has it, too.")
    ] = Path("airgapbuild.lock"),
    *,
    registry: Annotated[
        str | None,
        typer.Option(
            "--registry",
            metavar="HOST[/PREFIX]",
            help="Where the site has the images.",
            show_default="the first mirror in [buildkitd] for each",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Print a source policy for builds from a site's registry.

    For builders that take images from a registry behind the gap instead of a layout: BuildKit asks
    there for each name that the lock has, frontends included, by its digest; where the builder is
    sealed, any other image is denied at once.

    **Examples**

        airgapbuild source-policy --registry registry.inside.example:5000 > source-policy.json
        airgapbuild source-policy bundles/builders/airgapbuild.lock > source-policy.json
        EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=source-policy.json docker buildx build .
    """
    console = Console("source-policy", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.destination import parse_destination
        from airgapbuild.lockfile import read_lock
        from airgapbuild.source_policy import source_policy

        place = parse_destination(registry) if registry else None
        policy = source_policy(read_lock(lock), place)
        if not as_json:
            console.write(json.dumps(policy, indent=2) + "\n")
        console.result({"policy": policy})
