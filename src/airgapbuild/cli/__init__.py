"""The command line: options in, one step called, words or JSON out.

Only this package prints, reads the environment for options, or exits. Each command is a module, and
imports what it runs when it runs: `--help` loads none of it.
"""

from __future__ import annotations

import atexit
import gc
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
from airgapbuild.cli.plain_help import make_plain
from airgapbuild.cli.push import push_command
from airgapbuild.cli.report import report_command
from airgapbuild.cli.serve import serve_command
from airgapbuild.cli.source_policy import source_policy_command
from airgapbuild.cli.split import split_command
from airgapbuild.cli.streams import guarded
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
_CONNECTED = "Connected side"
_BUNDLE = "Bundle"
_ISOLATED = "Isolated side"
_BUILDS = "Builds"
_REGISTRY = "Registry inside"

app.command("init", rich_help_panel=_CONNECTED)(init_command)
app.command("lock", rich_help_panel=_CONNECTED)(lock_command)
app.command("outdated", rich_help_panel=_CONNECTED)(outdated_command)
app.command("export", rich_help_panel=_CONNECTED)(export_command)
app.command("verify", rich_help_panel=_BUNDLE)(verify_command)
app.command("inspect", rich_help_panel=_BUNDLE)(inspect_command)
app.command("diff", rich_help_panel=_BUNDLE)(diff_command)
app.command("report", rich_help_panel=_BUNDLE)(report_command)
app.command("split", rich_help_panel=_BUNDLE)(split_command)
app.command("join", rich_help_panel=_BUNDLE)(join_command)
app.command("load", rich_help_panel=_ISOLATED)(load_command)
app.command("unload", rich_help_panel=_ISOLATED)(unload_command)
app.command("inventory", rich_help_panel=_ISOLATED)(inventory_command)
app.command("doctor", rich_help_panel=_ISOLATED)(doctor_command)
app.add_typer(layout_app, name="layout", rich_help_panel=_ISOLATED)
app.command(
    "build",
    context_settings={"ignore_unknown_options": True},
    rich_help_panel=_BUILDS,
)(build_command)
app.command("check", rich_help_panel=_BUILDS)(check_command)
app.command("contexts", rich_help_panel=_BUILDS)(contexts_command)
app.command("env", rich_help_panel=_BUILDS)(env_command)
app.command("push", rich_help_panel=_REGISTRY)(push_command)
app.command("serve", rich_help_panel=_REGISTRY)(serve_command)
app.command("source-policy", rich_help_panel=_REGISTRY)(source_policy_command)
make_plain(app)


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
    # Python would look for garbage in all modules before it frees them: a tenth of a second.
    atexit.register(gc.freeze)
    try:
        with guarded():
            app()
    except KeyboardInterrupt as interrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(getattr(interrupt, "exit_code", 130))
