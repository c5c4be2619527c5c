"""--sign: the key that a bundle is signed with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from airgapbuild.bundle.signature import Signed
    from airgapbuild.cli.console import Console
    from airgapbuild.signing import SshKeygen

Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        metavar="KEY",
        help="Sign the bundle by ssh-keygen: with a private key, or a public one whose private "
        "half an agent has.",
    ),
]


@dataclass(frozen=True)
class SigningKey:
    """A key that is there, and the program that signs with it."""

    path: Path
    keygen: SshKeygen

    def sign(self, folder: Path, console: Console) -> Signed:
        """Signs the bundle in a folder, and says so.

        Raises:
            SignatureError, BundleError: see `sign_bundle`.
        """
        from airgapbuild.bundle.signature import sign_bundle

        console.settle()  # it may ask for a passphrase
        return sign_bundle(folder, self.path, self.keygen, console.note)


def signing_key(path: Path | None) -> SigningKey | None:
    """The key at a path, looked for before any work begins; None where none is named.

    Raises:
        UsageError: there is no such file, or the system does not tell.
        SignatureError: there is no ssh-keygen.
    """
    from airgapbuild.cli.connect import ssh_keygen
    from airgapbuild.errors import UsageError
    from airgapbuild.files import is_file

    if path is None:
        return None
    if not is_file(path):
        hint = "--sign takes a private key, or the public key of one that an agent has"
        raise UsageError(f"{path}: there is no such key", hint=hint)
    return SigningKey(path, ssh_keygen())


def say_signed(console: Console, signed: Signed) -> None:
    """Says whose signature a bundle has now."""
    console.say(f"{'signed' if signed.made else 'the signature is kept,'} by {signed.key}")
