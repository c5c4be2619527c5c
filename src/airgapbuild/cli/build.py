"""`airgapbuild build`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import LayoutPath


def build_command(
    *,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGUMENT]...", help="What docker buildx build takes."),
    ] = None,
    layout: LayoutPath = None,
) -> None:
    """Run docker buildx build with the images that were loaded.

    FROM and `# syntax` are taken from the layout. Everything but --layout goes to docker buildx
    build as it is, and its exit code comes back. For an SBOM, the builder takes the scanner from
    the layout first, and it is named by digest. A note says so where no image was loaded: then the
    builder looks for FROM elsewhere.

    **Examples**

        airgapbuild build .
        airgapbuild build --platform linux/amd64,linux/arm64 -t app --output type=oci,dest=app.tar .
        airgapbuild build --sbom=true -t app --output type=oci,dest=app.tar .
        airgapbuild build --layout /srv/layout -f ci/Dockerfile ..
    """
    console = Console("build", as_json=False, quiet=False, verbose=False, color=Color.AUTO)
    with console.reporting():
        from airgapbuild.builder.buildx import Buildx
        from airgapbuild.threads import pool

        with pool(1, "buildx") as beside:
            finding = beside.submit(Buildx.find, os.environ)
            # What is imported takes about as long as buildx does to answer.
            from airgapbuild.builder.contexts import (
                as_flags,
                contexts_of,
                digests_by_name,
                nothing_in,
            )
            from airgapbuild.builder.sbom import bring, scan_of
            from airgapbuild.cli.inputs import own_layout

            shelf = own_layout(layout)
            contexts = contexts_of(shelf)
        buildx = finding.result()
        if not contexts:
            console.note(f"{nothing_in(shelf)}: the builder looks for FROM elsewhere")
        words = tuple(arguments or ())
        if scan := scan_of(words, digests_by_name(shelf)):
            bring(scan, buildx.command, contexts, os.environ)
            words = scan.arguments
        command = [*buildx.command, "build", *as_flags(contexts), *words]
        os.execvp(command[0], command)  # noqa: S606 - docker's own exit code and terminal
