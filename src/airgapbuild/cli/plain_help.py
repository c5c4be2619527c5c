"""Help as it is written here: arguments by their own words, and no Python types.

Releases of typer differ in the brackets and dots that they add to an argument's own word, and in
the types that they show where there is nothing to choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    import typer


class _PlainCommand(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer brings its click
        arguments = (it for it in self.get_params(ctx) if it.param_type_name == "argument")
        return [self.options_metavar or "", *(it.metavar or "" for it in arguments)]

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        return _without_types(super().get_params(ctx))


class _PlainGroup(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
        return _without_types(super().get_params(ctx))


def make_plain(app: typer.Typer) -> None:
    """Gives all commands of an app, and those below them, such help."""
    app.info.cls = _PlainGroup
    for command in app.registered_commands:
        command.cls = _PlainCommand
    for group in app.registered_groups:
        if group.typer_instance:
            make_plain(group.typer_instance)


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None  # noqa: ARG005
        elif param.is_flag:
            param.metavar = ""
    return params
