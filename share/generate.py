"""Writes the man page beside this file, from the commands' own words: `make share`.

A test compares it with what is committed.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from airgapbuild.cli import airgapbuild, app
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typer import Typer

_EVERYWHERE = (Json, Quiet, Verbose, ColorWhen)
"""Options that are told once."""

MAN_PAGE = Path(__file__).parent / "man" / "man1" / "airgapbuild.1"

_HEAD = """\
.TH AIRGAPBUILD 1 "" "airgapbuild" "User Commands"
.SH NAME
airgapbuild \\- Buildx builders where there is no internet
.SH SYNOPSIS
.B airgapbuild
.I COMMAND
.RI [ ARGUMENT ]...
"""
_TAIL = """\
.SH FILES
.TP
.I airgapbuild.toml
The manifest. It has a JSON Schema.
.TP
.I airgapbuild.lock
What was pinned, beside the manifest.
.TP
.I bundles/NAME
The bundle that
.B export
writes.
.TP
.I $XDG_DATA_HOME/airgapbuild/layout
The OCI layout of loaded base and frontend images.
.TP
.I $XDG_CONFIG_HOME/airgapbuild/NAME/buildkitd.toml
What the builder has for a configuration.
.TP
.I $XDG_CACHE_HOME/airgapbuild
What an interrupted export had fetched.
.SH ENVIRONMENT
.TP
.BR DOCKER_HOST ", " DOCKER_CONTEXT ", " DOCKER_TLS_VERIFY ", " DOCKER_CERT_PATH ", " DOCKER_CONFIG
The daemon and the logins, as docker has them.
.TP
.BR BUILDX_CONFIG ", " BUILDX_BUILDER
Where builders are kept, and which is used, as buildx has it.
.TP
.BR HTTPS_PROXY ", " HTTP_PROXY ", " NO_PROXY ", " SSL_CERT_FILE
How registries are reached.
.SH SEE ALSO
.BR docker (1),
.BR docker-buildx-build (1),
.BR ssh-keygen (1)
"""


class Command(NamedTuple):
    """A command of the line: `lock`, or `layout prune`."""

    name: str
    run: Callable[..., None]
    panel: str
    """Of `--help`, where it stands."""


def commands(typer: Typer) -> Iterator[Command]:
    """All commands, those of groups last."""
    for command in typer.registered_commands:
        if command.callback:
            yield Command(str(command.name), command.callback, str(command.rich_help_panel))
    for group in typer.registered_groups:
        for inner in commands(group.typer_instance) if group.typer_instance else ():
            yield Command(f"{group.name} {inner.name}", inner.run, str(group.rich_help_panel))


def man_page() -> str:
    """The text of airgapbuild.1."""
    parts = [_HEAD, ".SH DESCRIPTION\n", *_text(airgapbuild)]
    every = list(commands(app))
    for panel in dict.fromkeys(command.panel for command in every):
        parts.append(f".SH COMMANDS: {panel.upper()}\n")
        for command in every:
            if command.panel == panel:
                parts += _command(command)
    parts += [".SH OPTIONS OF EVERY COMMAND\n", *(_option(hint, "") for hint in _EVERYWHERE)]
    codes = str(app.info.epilog).removeprefix("Exit codes: ")
    parts += [".SH EXIT STATUS\n", f"{_plain(codes)}\n", _TAIL]
    return "".join(parts)


def _command(command: Command) -> Iterator[str]:
    yield f".SS {_plain(command.name)}\n"
    yield from _text(command.run)
    yield from _options(command.run)


def _text(function: Callable[..., None]) -> Iterator[str]:
    """A docstring: paragraphs, and indented examples."""
    for block in inspect.cleandoc(function.__doc__ or "").split("\n\n"):
        if block.startswith("    "):
            yield f".PP\n.nf\n.RS 4\n{_plain(inspect.cleandoc(block))}\n.RE\n.fi\n"
        else:
            yield f".PP\n{_marked(_plain(block))}\n"


def _options(function: Callable[..., None]) -> Iterator[str]:
    hints = get_type_hints(function, include_extras=True)
    for name in inspect.signature(function).parameters:
        if hints[name] not in _EVERYWHERE:
            yield _option(hints[name], name)


def _option(hint: Any, name: str) -> str:  # noqa: ANN401 - typing has no name for Annotated[…]
    [kind], [info] = hint.__args__, hint.__metadata__
    return f".TP\n{_head(kind, info, name)}\n{_marked(_plain(info.help))}\n"


def _head(kind: object, info: Any, name: str) -> str:  # noqa: ANN401 - of typer's, either kind
    """An option's names and what it takes; an argument's name."""
    names = [
        declared
        for word in (info.default, *(info.param_decls or ()))
        if isinstance(word, str)
        for declared in word.split("/")
    ]
    if not names:
        return f".I {_plain(info.metavar or name.upper())}"
    takes = (
        ""
        if kind in {bool, bool | None}
        else f" \\fI{_plain(info.metavar or _choices(kind) or 'VALUE')}\\fR"
    )
    return ", ".join(f"\\fB{_plain(word)}\\fR" for word in names) + takes


def _choices(kind: object) -> str:
    members = getattr(kind, "__members__", {})
    return "|".join(str(member) for member in members.values())


def _plain(text: str) -> str:
    """Text as roff prints it as it is. Source: groff_man_style(7), "Portability"."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"[^\n -~]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def _marked(text: str) -> str:
    bold = re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", text)
    return re.sub(r"`(.+?)`", r"\\fB\1\\fR", bold)


if __name__ == "__main__":
    MAN_PAGE.write_text(man_page(), encoding="utf-8")
