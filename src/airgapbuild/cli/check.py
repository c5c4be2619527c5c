"""`airgapbuild check`."""

from __future__ import annotations

import os
import platform as machine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console, error_document
from airgapbuild.cli.options import ColorWhen, Json, LayoutPath, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airgapbuild.check import Checked, CheckedImage
    from airgapbuild.dockerfile.images import Build
    from airgapbuild.oci.platform import Platform


def check_command(
    dockerfiles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DOCKERFILE]...", help="The files to look into.", show_default="Dockerfile"
        ),
    ] = None,
    *,
    build_args: Annotated[
        list[str] | None,
        typer.Option("--build-arg", metavar="NAME=VALUE", help="As for the build."),
    ] = None,
    build_contexts: Annotated[
        list[str] | None,
        typer.Option("--build-context", metavar="NAME=…", help="As for the build: no image."),
    ] = None,
    platforms: Annotated[
        list[str] | None,
        typer.Option("--platform", help="As for the build.", show_default="this machine's"),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="STAGE", help="As for the build.")
    ] = None,
    sbom: Annotated[
        bool, typer.Option("--sbom", help="The build makes an SBOM: its scanner is needed.")
    ] = False,
    layout: LayoutPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell before a build which of its images were not loaded.

    What counts: FROM, COPY --from and RUN --mount from= of the stages that the target needs, with
    build arguments put in; ONBUILD of the bases; `# syntax`. For what is missing it prints the
    lines that airgapbuild.toml needs. No daemon and no network is asked. Dockerfiles are parsed by
    a package that pip install 'airgapbuild[check]' brings.

    Exit code 7: something is missing, or the layout has lost a part of it.

    **Examples**

        airgapbuild check
        airgapbuild check --build-arg PYTHON=3.13 --target test ci/Dockerfile
        airgapbuild check --platform linux/amd64,linux/arm64 --sbom */Dockerfile
    """
    console = Console("check", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.check import check
        from airgapbuild.cli.inputs import own_layout
        from airgapbuild.dockerfile.parser import read_dockerfile
        from airgapbuild.oci.platform import normalised

        shelf = own_layout(layout)
        own = normalised("linux", machine.machine())
        names = build_contexts or ()
        builds = [
            _build(wanted, own, build_args or (), names, target)
            for wanted in _platforms(platforms or (), own)
        ]
        files = [read_dockerfile(path) for path in dockerfiles or (Path("Dockerfile"),)]
        checked = check(files, builds, shelf, sbom=sbom)
        _say(console, checked)
        for name in checked.unread:
            console.note(f"{name}: only its frontend is known, not what that makes of it")
        document = _document(checked, shelf.path)
        if error := checked.error:
            console.complain(error)
            console.result({**document, "error": error_document(error)})
            raise typer.Exit(error.exit_code)
        console.result(document)
        images = len(checked.images)
        console.say("the image is there" if images == 1 else f"all {images} images are there")


def _build(
    wanted: Platform,
    own: Platform,
    arguments: Iterable[str],
    names: Iterable[str],
    target: str | None,
) -> Build:
    from airgapbuild.dockerfile.images import Build
    from airgapbuild.errors import UsageError
    from airgapbuild.oci.reference import parse_reference

    values = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals or name in os.environ:  # as for docker: without a value, the environment's
            values[name] = value if equals else os.environ[name]
    try:
        contexts = {parse_reference(name.partition("=")[0]).context_name for name in names}
    except ValueError as error:
        raise UsageError(f"--build-context: {error}") from error
    return Build(wanted, own, values, target, frozenset(contexts))


def _platforms(texts: Iterable[str], own: Platform) -> list[Platform]:
    from airgapbuild.errors import UsageError
    from airgapbuild.oci.platform import parse_platform

    try:
        named = [parse_platform(it) for text in texts for it in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--platform: {error}") from error
    return named or [own]


def _say(console: Console, checked: Checked) -> None:
    rows = [
        (
            image.name,
            image.role,
            ", ".join(map(str, image.platforms)),
            image.places[0],
            _state(image),
        )
        for image in checked.images
    ]
    console.table(("IMAGE", "ROLE", "PLATFORMS", "WHERE", ""), rows)
    if lines := checked.manifest_lines:
        console.say()
        for line in lines.splitlines():
            console.say(line)


def _state(image: CheckedImage) -> str:
    if not image.missing:
        return "damaged" if image.damaged else "there"
    return f"not for {', '.join(map(str, image.missing))}" if image.held else "missing"


def _document(checked: Checked, layout: Path) -> dict[str, Any]:
    return {
        "layout": str(layout),
        "images": [
            {
                "name": image.name,
                "ref": str(image.reference),
                "role": image.role,
                "places": list(image.places),
                "platforms": [str(it) for it in image.platforms],
                "missing": [str(it) for it in image.missing],
                "damaged": list(image.damaged),
            }
            for image in checked.images
        ],
        "manifest": checked.manifest_lines,
    }
