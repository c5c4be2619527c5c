"""What the commands of the line are, and what they say of themselves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typer import Typer

EVERYWHERE = (Json, Quiet, Verbose, ColorWhen)
"""Options that are told once."""


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


def panels(typer: Typer) -> dict[str, list[Command]]:
    """All commands by their panels, in the order of `--help`."""
    every = list(commands(typer))
    names = dict.fromkeys(command.panel for command in every)
    return {name: [command for command in every if command.panel == name] for name in names}


def parameters(function: Callable[..., None]) -> Iterator[tuple[str, Any]]:
    """A command's own arguments and options: their names in Python and their annotations."""
    hints = get_type_hints(function, include_extras=True)
    for name in inspect.signature(function).parameters:
        if hints[name] not in EVERYWHERE:
            yield name, hints[name]


def spelling(hint: Any, name: str) -> tuple[tuple[str, ...], str]:  # noqa: ANN401 - typing has no name for Annotated[…]
    """The names of an option, none of an argument, and the word for what is put there."""
    [kind], [info] = hint.__args__, hint.__metadata__
    names = tuple(
        declared
        for word in (info.default, *(info.param_decls or ()))
        if isinstance(word, str)
        for declared in word.split("/")
    )
    if not names:
        return (), info.metavar or name.upper()
    flag = kind in {bool, bool | None}
    return names, "" if flag else info.metavar or _choices(kind) or "VALUE"


def _choices(kind: object) -> str:
    members = getattr(kind, "__members__", {})
    return "|".join(str(member) for member in members.values())
