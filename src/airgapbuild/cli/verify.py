"""`airgapbuild verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console, error_document
from airgapbuild.cli.options import (
    ColorWhen,
    Json,
    MinSerial,
    PolicyPath,
    Quiet,
    Signers,
    Verbose,
)
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from airgapbuild.verify import Verified


def verify_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of the bundle.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Sums only, not what is inside the tarballs.")
    ] = False,
    file: PolicyPath = None,
    allowed_signers: Signers = None,
    min_serial: MinSerial = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell all that is wrong with a bundle.

    Every file is checked against SHA256SUMS and bundle.json, and every tarball member by member
    along the chain from the lock to the layers. Files to bring over again are named. No daemon and
    no network is needed. Unlike for load, all tarballs must be there.

    With --allowed-signers, or the policy of a manifest, the signature is checked before all else:
    nothing is told of a bundle that is refused.

    Exit code 6: a file's content is wrong (whatever else there is). 7: files are missing, foreign
    or unreadable, and all the others are right. 10: it is not signed as wanted, or is too old.

    **Examples**

        airgapbuild verify bundles/builders
        airgapbuild verify --quick --json /media/usb/builders
        airgapbuild verify --allowed-signers allowed_signers --min-serial 7 bundles/builders
    """
    console = Console("verify", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.connect import policy_for
        from airgapbuild.verify import verify

        policy = policy_for([bundle], file, allowed_signers, min_serial)
        verified = verify(bundle, quick=quick, policy=policy, progress=console)
        rows = [(f.name, _size(f.size), f.what, f.state) for f in verified.files]
        console.table(("FILE", "SIZE", "WHAT", ""), rows)
        if verified.signer:
            console.say(f"signed by {verified.signer}")
        document = _document(verified, quick=quick)
        if error := verified.error:
            console.complain(error)
            console.result({**document, "error": error_document(error)})
            raise typer.Exit(error.exit_code)
        console.result(document)
        size = size_words(verified.size)
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
        "signed": verified.signed,
        "signer": verified.signer and asdict(verified.signer),
        "serial": verified.serial,
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
