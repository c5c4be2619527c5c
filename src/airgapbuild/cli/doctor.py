"""`airgapbuild doctor`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console, error_document
from airgapbuild.cli.options import ColorWhen, HostUrl, Json, LayoutPath, Quiet, Verbose

if TYPE_CHECKING:
    from airgapbuild.doctor.finding import Examined

_STYLES = {"warning": "yellow", "problem": "red"}
_SECONDS = 5.0
_STDIN = Path("-")


def doctor_command(
    given: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE|LOCK]", help="What ought to be here."),
    ] = None,
    *,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", metavar="FILE", help="What a build that failed has printed; - is stdin."
        ),
    ] = None,
    host: HostUrl = None,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell what stands in the way here, and the line to mend it.

    The daemon, buildx, the builder and the layout are looked at and left as they are. With a bundle
    or a lock, also whether all that it names is there. Nothing is asked but the daemon, its builder
    and a mirror on this very machine: no registry, no name server.

    With --log, first what failed in that build: which image, where it was looked for, and the lines
    of airgapbuild.toml that bring it.

    Exit code: that of the first problem (8 the daemon, 9 buildx or the builder, 7 the bundle, the
    layout or an image that is in neither, 5 a registry); 0 where there is none, whatever the
    warnings.

    **Examples**

        airgapbuild doctor
        airgapbuild doctor bundles/builders
        airgapbuild doctor --json --host tcp://docker:2376
        docker buildx build . 2>&1 | tee build.log; airgapbuild doctor --log build.log
    """
    console = Console("doctor", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.inputs import own_folder, own_layout
        from airgapbuild.doctor.diagnosis import diagnose
        from airgapbuild.doctor.examination import error_of, examine
        from airgapbuild.doctor.site import look

        site = look(
            os.environ,
            own_layout(layout),
            own_folder("XDG_CACHE_HOME", ".cache"),
            host=host,
            given=given,
            seconds=_SECONDS,
        )
        site = replace(site, is_layout_named=layout is not None)
        explained = diagnose(_read(log), site) if log else ()
        examined = []
        for found in chain(explained, examine(site)):
            examined.append(found)
            _say(console, found)
        error = error_of(examined)
        document = _document(examined)
        if error is None:
            console.result(document)
            return
        if quiet:
            console.complain(error)
        console.result({**document, "error": error_document(error)})
        raise typer.Exit(error.exit_code)


def _read(log: Path) -> str:
    """A build's log, whatever bytes its steps have printed."""
    from airgapbuild.errors import UsageError

    try:
        raw = sys.stdin.buffer.read() if log == _STDIN else log.read_bytes()
    except OSError as error:
        raise UsageError(f"{log}: {error.strerror}") from error
    return raw.decode(errors="replace")


def _say(console: Console, examined: Examined) -> None:
    finding = examined.finding
    beginning = f"{finding.state:<7}  {examined.area:<9}  "
    console.hang(beginning, finding.what, style=_STYLES.get(finding.state, ""))
    indent = " " * 20
    if finding.why:
        console.hang(indent, finding.why)
    for line in (finding.mend or "").splitlines():
        console.say(f"{indent}{line}", style="bold")


def _document(examined: list[Examined]) -> dict[str, Any]:
    return {
        "healthy": all(it.finding.state != "problem" for it in examined),
        "findings": [
            {
                "check": it.area,
                "state": it.finding.state,
                "what": it.finding.what,
                "why": it.finding.why,
                "mend": it.finding.mend,
            }
            for it in examined
        ],
    }
