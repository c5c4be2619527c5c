"""`airgapbuild report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgapbuild.cli.console import Color, Console, error_document
from airgapbuild.cli.options import (
    ColorWhen,
    Json,
    MinSerial,
    PolicyPath,
    Quiet,
    Signers,
    Verbose,
)
from airgapbuild.errors import UsageError
from airgapbuild.files import write_if_changed


def report_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of the bundle.")],
    *,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="OLD", help="An earlier bundle or lock: what has changed?"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page.",
            show_default="<name>-report.html",
        ),
    ] = None,
    file: PolicyPath = None,
    allowed_signers: Signers = None,
    min_serial: MinSerial = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Write one HTML page on a bundle, for whoever approves it.

    The bundle is verified first, as airgapbuild verify does, and the page says at its top whether
    it is whole. Then: its fingerprint; the images with origin, digests, names and sizes; what has
    changed since an earlier bundle; the builder; signatures and attestations; every file and sum.
    It is for screen, phone and print, fetches nothing and runs nothing.

    Exit codes are those of verify. For 6 and 7 the page is written all the same; a bundle that is
    refused (10) gets none.

    **Examples**

        airgapbuild report bundles/builders
        airgapbuild report /media/usb/builders --since last/airgapbuild.lock -o approve.html
        airgapbuild report bundles/builders --allowed-signers allowed_signers
    """
    console = Console("report", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.connect import policy_for
        from airgapbuild.report.facts import gather
        from airgapbuild.report.page import render_page

        folder = output.parent if output else Path()
        if folder.resolve().is_relative_to(bundle.resolve()):
            raise UsageError(
                f"{folder}: lies in the bundle, where a report would be a foreign file",
                hint="-o FILE puts it elsewhere",
            )
        policy = policy_for([bundle], file, allowed_signers, min_serial)
        facts = gather(bundle, since=since, policy=policy, progress=console)
        page = output or Path(f"{facts.name}-report.html")
        try:
            write_if_changed(page, render_page(facts))
        except OSError as failed:
            raise UsageError(f"{page}: {failed.strerror}") from failed
        error = facts.verified.error
        document = {"bundle": str(bundle), "report": str(page), "whole": error is None}
        console.say(f"{page} is written: {bundle} is {'not ' if error else ''}whole")
        if error:
            console.complain(error)
            console.result({**document, "error": error_document(error)})
            raise typer.Exit(error.exit_code)
        console.result(document)
