"""`airgapbuild verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console, error_document
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose
from airgapbuild.cli.words import size_words

if TYPE_CHECKING:
    from airgapbuild.verify import Verified


def verify_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of the bundle.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Sums only, not what is inside the tarballs.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell all that is wrong with a bundle, and which files to bring over again.

    Every file is checked against SHA256SUMS and bundle.json, and every tarball member by member
    along the chain from the lock to the layers. No daemon and no network is needed. Unlike for
    load, all tarballs must be there.

    Exit code 6: a file's content is wrong (whatever else there is). 7: files are missing, foreign
    or unreadable, and all the others are right.

    **Examples**

        airgapbuild verify bundles/builders
        airgapbuild verify --quick --json /media/usb/builders
    """
    console = Console("verify", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.verify import verify

        verified = verify(bundle, quick=quick, progress=console)
        rows = [(f.name, _size(f.size), f.what, f.state) for f in verified.files]
        console.table(("FILE", "SIZE", "WHAT", ""), rows)
        document = _document(verified, quick=quick)
        if error := verified.error:
            console.complain(error)
            console.result({**document, "error": error_document(error)})
            raise typer.Exit(error.exit_code)
        console.result(document)
        size = size_words(sum(file.size or 0 for file in verified.files))
        told = "has the right sums" if quick else "is whole"
        console.say(f"{bundle} {told}: {len(verified.files)} files, {size}")
        if verified.requires:
            left_out = size_words(sum(blob.size for blob in verified.requires))
            console.say(
                f"it is a differential: the receiver must hold {len(verified.requires)} "
                f"blobs besides, {left_out}"
            )
        if verified.references:
            console.say(
                f"it tells layers by {len(verified.references)} older ones, which the receiver "
                "must hold, too: of those only the sums are proven here, load proves the rest"
            )


def _size(size: int | None) -> str:
    return "-" if size is None else size_words(size)


def _document(verified: Verified, *, quick: bool) -> dict[str, Any]:
    return {
        "bundle": str(verified.folder),
        "quick": quick,
        "whole": not verified.problems,
        "fetch": list(verified.fetch),
        "requires": [
            blob.model_dump(mode="json", by_alias=True, exclude_none=True)
            for blob in verified.requires
        ],
        "references": [blob.model_dump(mode="json") for blob in verified.references],
        "files": [
            {
                "name": file.name,
                "size": file.size,
                "what": file.what,
                "state": file.state,
                "problems": [
                    {"kind": problem.error.kind, "message": problem.error.message}
                    for problem in file.problems
                ],
            }
            for file in verified.files
        ],
    }
