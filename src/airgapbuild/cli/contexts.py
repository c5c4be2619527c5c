"""`airgapbuild contexts`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, LayoutPath, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Mapping


class Format(StrEnum):
    """What is to read the contexts."""

    FLAGS = "flags"
    BAKE = "bake"
    COMPOSE = "compose"


def contexts_command(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="The targets of bake, or services of compose."),
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="Options for docker buildx build, or a second file for the others."
        ),
    ] = Format.FLAGS,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell a build where the loaded base and frontend images are.

    So it asks no registry. Each image of the layout is named as Dockerfiles may write it: by tag,
    by digest, by both. For docker buildx build alone, airgapbuild build does the same.

    **Examples**

        docker buildx build $(airgapbuild contexts) .
        airgapbuild contexts --format bake app web > airgap.json
        docker buildx bake --allow fs.read=$HOME -f docker-bake.hcl -f airgap.json
    """
    console = Console("contexts", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.builder.contexts import contexts_of, nothing_in
        from airgapbuild.cli.inputs import own_layout

        shelf = own_layout(layout)
        contexts = contexts_of(shelf)
        if not contexts:
            raise nothing_in(shelf)
        if not as_json:
            console.write(_rendered(form, contexts, names or []))
        console.result({"contexts": contexts})


def _rendered(form: Format, contexts: Mapping[str, str], names: list[str]) -> str:
    from airgapbuild.builder.contexts import as_bake, as_compose, as_words
    from airgapbuild.errors import UsageError

    if form is Format.FLAGS:
        if names:
            hint = "names of targets or services go with --format bake or --format compose"
            raise UsageError(f"'{names[0]}': options hold for the whole build", hint=hint)
        return as_words(contexts)
    if not names:
        what = "targets" if form is Format.BAKE else "services"
        hint = f"airgapbuild contexts --format {form} NAME..."
        raise UsageError(f"no {what} are named for {form}", hint=hint)
    return (as_bake if form is Format.BAKE else as_compose)(contexts, names)
