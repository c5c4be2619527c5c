"""`airgapbuild env`."""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, HostUrl, Json, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Mapping


class Format(StrEnum):
    """Who is to read the variables."""

    SH = "sh"
    FISH = "fish"
    DOTENV = "dotenv"


def env_command(
    *,
    form: Annotated[
        Format, typer.Option("--format", help="dotenv is what GITHUB_ENV and GitLab take.")
    ] = Format.SH,
    host: HostUrl = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Print the variables by which docker finds the builder.

    docker buildx build finds it anyway, unless it was loaded with --no-use. docker build does so by
    BUILDX_BUILDER only; a later step with another home needs BUILDX_CONFIG as well. No daemon is
    asked.

    **Examples**

        eval "$(airgapbuild env)"
        airgapbuild env --format fish | source
        airgapbuild env --format dotenv >> "$GITHUB_ENV"
    """
    console = Console("env", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.builder.instance import InstanceStore
        from airgapbuild.engine.endpoint import find_endpoint
        from airgapbuild.errors import BuilderError

        store = InstanceStore.of(os.environ)
        endpoint = find_endpoint(host, os.environ)
        builder = store.loaded(endpoint.buildx_key)
        if builder is None:
            message = f"{store.folder}: no builder was loaded for {endpoint.host}"
            raise BuilderError(message, hint="`airgapbuild load BUNDLE` makes one")
        variables = {"BUILDX_BUILDER": builder, "BUILDX_CONFIG": str(store.folder.absolute())}
        if not as_json:
            console.write("".join(f"{line}\n" for line in _lines(form, variables)))
        console.result({"variables": variables})


def _lines(form: Format, variables: Mapping[str, str]) -> list[str]:
    if form is Format.SH:
        return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if form is Format.FISH:
        return [f"set -gx {name} {_for_fish(value)}" for name, value in variables.items()]
    return [f"{name}={value}" for name, value in variables.items()]


def _for_fish(text: str) -> str:
    """Quoted as fish reads it. Source: fish's documentation, "Quotes"."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
