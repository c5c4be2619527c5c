"""SHA256SUMS.sig: made, dropped, and demanded by whoever takes a bundle over.

It signs SHA256SUMS, which names every other file with its sum. So whoever has signed the sums has
signed the bundle, and no file lists the signature.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.index import FETCH_AGAIN, SIGNATURE_FILE, SUMS_FILE
from airgapbuild.errors import BundleError, SignatureError
from airgapbuild.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airgapbuild.signing import AllowedSigners, Key, Signer, SshKeygen

_MAX_SIGNATURE: Final = 64 << 10
"""In bytes. One with a certificate and the largest RSA keys of ssh-keygen has about 12 KiB."""


@dataclass(frozen=True)
class Policy:
    """What a receiver demands of a bundle. It is the receiver's own: nothing of it is bundled."""

    allowed: AllowedSigners | None = None
    """Who may have signed it; None where it may be unsigned."""
    min_serial: int | None = None

    def signer(self, folder: Path, sums: bytes | None) -> Signer | None:
        """Who has signed these bytes of SHA256SUMS; None where it does not matter.

        Raises:
            SignatureError: nobody has, or nobody who may; there are no sums; the signature is no
                plain file, or too large for one.
        """
        if self.allowed is None:
            return None
        signature = _read_signature(folder)
        if signature is None or sums is None:
            missing = SUMS_FILE if sums is None else SIGNATURE_FILE
            hint = f"bring {missing} over, too; `airgapbuild export --sign KEY` makes a signature"
            raise SignatureError(f"{folder}: is not signed: {missing} cannot be had", hint=hint)
        return self.allowed.verify(sums, signature, str(folder / SIGNATURE_FILE))

    def check_serial(self, serial: int | None, what: str) -> None:
        """Returns only if a bundle of this serial is new enough.

        Raises:
            SignatureError: it is not, or has none.
        """
        if self.min_serial is None or (serial is not None and serial >= self.min_serial):
            return
        told = "has no serial" if serial is None else f"has serial {serial}"
        hint = "this is an older bundle than was taken before, or one exported without --serial"
        raise SignatureError(f"{what}: {told}; {self.min_serial} or higher is wanted", hint=hint)


ANY: Final = Policy()
"""Takes every bundle."""


@dataclass(frozen=True)
class Signed:
    """A bundle that has a signature by the wanted key."""

    key: Key
    made: bool
    """False where it was there already."""


def sign_bundle(
    folder: Path, key: Path, keygen: SshKeygen, on_line: Callable[[str], None]
) -> Signed:
    """The bundle in a folder, signed with a key; a signature of that key that fits is kept.

    One with a certificate is made anew: the certificate may be a newer one. For `on_line`, see
    `SshKeygen.sign`.

    Raises:
        SignatureError: the key does not sign.
        BundleError: there are no sums, or the signature cannot be written.
    """
    path = folder / SIGNATURE_FILE
    try:
        sums = (folder / SUMS_FILE).read_bytes()
        if kept := _kept(folder, sums, key, keygen):
            return Signed(kept, made=False)
        signature = keygen.sign(sums, key, on_line)
        signed = Signed(keygen.key_of(sums, signature, str(path)), made=True)
        with replacing(path) as file:
            file.write(signature)
    except OSError as error:
        raise BundleError(f"{error.filename or folder}: {error.strerror}") from error
    return signed


def is_signed(folder: Path) -> bool:
    """Whether there is something in the signature's place."""
    return os.path.lexists(folder / SIGNATURE_FILE)


def drop_signature(folder: Path, *, unless: bytes) -> None:
    """Removes the signature, unless SHA256SUMS is these bytes already.

    To be called before the sums are written: a bundle may be without a signature at any moment,
    but not with a wrong one.
    """
    with suppress(FileNotFoundError):
        if (folder / SUMS_FILE).read_bytes() == unless:
            return
    (folder / SIGNATURE_FILE).unlink(missing_ok=True)


def _kept(folder: Path, sums: bytes, key: Path, keygen: SshKeygen) -> Key | None:
    """The key of the signature that is there, where a new one would be no better."""
    with suppress(SignatureError):
        signature = _read_signature(folder)
        if signature is None:
            return None
        there = keygen.key_of(sums, signature, SIGNATURE_FILE)
        if there == keygen.public_key(key) and not there.is_certificate:
            return there
    return None


def _read_signature(folder: Path) -> bytes | None:
    """The signature's bytes; None where there is none.

    Raises:
        SignatureError: it is not a plain file, cannot be read, or is too large to be one.
    """
    path = folder / SIGNATURE_FILE
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise SignatureError(f"{path}: not a plain file", hint=FETCH_AGAIN)
        with path.open("rb") as file:
            raw = file.read(_MAX_SIGNATURE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SignatureError(f"{path}: {error.strerror}") from error
    if len(raw) > _MAX_SIGNATURE:
        raise SignatureError(f"{path}: is too large for a signature", hint=FETCH_AGAIN)
    return raw
