"""The options that every command has, and those that several share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgapbuild.cli.console import Color

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and notes only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what is done.")]
ColorWhen = Annotated[Color, typer.Option("--color", help="When to use colours.")]

ManifestPath = Annotated[
    Path,
    typer.Option("--file", "-f", metavar="FILE", help="The manifest; its lock lies beside it."),
]

LayoutPath = Annotated[
    Path | None,
    typer.Option(
        "--layout",
        metavar="DIR",
        help="The OCI layout for base and frontend images.",
        show_default="~/.local/share/airgapbuild/layout",
    ),
]

HostUrl = Annotated[
    str | None,
    typer.Option(
        "--host",
        "-H",
        metavar="URL",
        help="The daemon's socket.",
        show_default="as docker: DOCKER_HOST, DOCKER_CONTEXT, the current context",
    ),
]
PolicyPath = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="A manifest whose [policy] is to be met."),
]
Signers = Annotated[
    Path | None,
    typer.Option(
        "--allowed-signers",
        metavar="FILE",
        help="Refuse a bundle that none of them has signed. The format is ssh-keygen's.",
    ),
]
MinSerial = Annotated[
    int | None,
    typer.Option(
        "--min-serial", metavar="N", min=0, help="Refuse a bundle of a lower serial, or of none."
    ),
]
