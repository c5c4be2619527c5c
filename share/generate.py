"""Writes the man page, and the commands of the site, from the commands' own words: `make share`.

A test compares them with what is committed.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airgapbuild.cli import airgapbuild, app
from share.commands import EVERYWHERE, panels, parameters, spelling
from share.page import PAGES, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from share.commands import Command

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
What was pinned, beside the manifest; of
.IR x.toml ,
.IR x.lock .
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
.I $XDG_DATA_HOME/airgapbuild/loaded
What
.B load
brought, for
.BR unload .
.TP
.I $XDG_CACHE_HOME/airgapbuild
Scratch, what airgapbuild.pyz unpacks, and
.BR serve 's
layout of compact bundles.
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


def man_page() -> str:
    """The text of airgapbuild.1."""
    parts = [_HEAD, ".SH DESCRIPTION\n", *_text(airgapbuild)]
    for panel, inside in panels(app).items():
        parts.append(f".SH COMMANDS: {panel.upper()}\n")
        for command in inside:
            parts += _command(command)
    parts += [".SH OPTIONS OF EVERY COMMAND\n", *(_option(hint, "") for hint in EVERYWHERE)]
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
    return (_option(hint, name) for name, hint in parameters(function))


def _option(hint: Any, name: str) -> str:  # noqa: ANN401 - typing has no name for Annotated[…]
    names, takes = spelling(hint, name)
    if not names:
        head = f".I {_plain(takes)}"
    else:
        head = ", ".join(f"\\fB{_plain(word)}\\fR" for word in names)
        head += f" \\fI{_plain(takes)}\\fR" if takes else ""
    return f".TP\n{head}\n{_marked(_plain(hint.__metadata__[0].help))}\n"


def _plain(text: str) -> str:
    """Text as roff prints it as it is. Source: groff_man_style(7), "Portability"."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"[^\n -~]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def _marked(text: str) -> str:
    bold = re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", text)
    return re.sub(r"`(.+?)`", r"\\fB\1\\fR", bold)


if __name__ == "__main__":
    for language, path in PAGES.items():
        path.write_text(page(language), encoding="utf-8")
    MAN_PAGE.write_text(man_page(), encoding="utf-8")
