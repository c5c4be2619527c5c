"""The command line: options in, one step called, words or JSON out.

Only this package prints, reads the environment for options, or exits. Each command is a module, and
imports what it runs when it runs: `--help` loads none of it.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from airgapbuild.cli.build import build_command
from airgapbuild.cli.check import check_command
from airgapbuild.cli.contexts import contexts_command
from airgapbuild.cli.diff import diff_command
from airgapbuild.cli.doctor import doctor_command
from airgapbuild.cli.env import env_command
from airgapbuild.cli.export import export_command
from airgapbuild.cli.init import init_command
from airgapbuild.cli.inspect import inspect_command
from airgapbuild.cli.inventory import inventory_command
from airgapbuild.cli.join import join_command
from airgapbuild.cli.layout import layout_app
from airgapbuild.cli.load import load_command
from airgapbuild.cli.lock import lock_command
from airgapbuild.cli.outdated import outdated_command
from airgapbuild.cli.push import push_command
from airgapbuild.cli.report import report_command
from airgapbuild.cli.serve import serve_command
from airgapbuild.cli.source_policy import source_policy_command
from airgapbuild.cli.split import split_command
from airgapbuild.cli.unload import unload_command
from airgapbuild.cli.verify import verify_command

if TYPE_CHECKING:
    from types import FrameType

app = typer.Typer(
    name="airgapbuild",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a bug, 2 usage, 3 manifest, 4 lock, 5 registry, "
    "6 wrong content, 7 bundle, 8 daemon, 9 builder, 10 signature.",
)
app.command("init")(init_command)
app.command("lock")(lock_command)
app.command("outdated")(outdated_command)
app.command("export")(export_command)
app.command("load")(load_command)
app.command("unload")(unload_command)
app.command("push")(push_command)
app.command("serve")(serve_command)
app.command("inventory")(inventory_command)
app.command("build", context_settings={"ignore_unknown_options": True})(build_command)
app.command("check")(check_command)
app.command("contexts")(contexts_command)
app.command("source-policy")(source_policy_command)
app.command("env")(env_command)
app.add_typer(layout_app, name="layout")
app.command("doctor")(doctor_command)
app.command("verify")(verify_command)
app.command("inspect")(inspect_command)
app.command("diff")(diff_command)
app.command("report")(report_command)
app.command("split")(split_command)
app.command("join")(join_command)


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which CI ends a job: cleaned up after like Ctrl-C."""

    exit_code = 143


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from airgapbuild import __version__

        print(f"airgapbuild {__version__}")
        raise typer.Exit


@app.callback()
def airgapbuild(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _print_version(wanted=value),
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Buildx builders where there is no internet.

    Pin the builder images (**lock**), bundle them (**export**), carry the folder over,
    and start the builder there (**load**).

    **On a connected machine**

        airgapbuild init
        airgapbuild lock
        airgapbuild export

    **Behind the gap**

        airgapbuild load bundles/builders
        airgapbuild build .
    """


def main() -> None:
    """Runs the command line and exits with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except KeyboardInterrupt as interrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(getattr(interrupt, "exit_code", 130))
