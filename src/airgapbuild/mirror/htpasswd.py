"""Users and their passwords, as `htpasswd -B` writes them.

Source: RFC 7617 (Basic); Apache's htpasswd(1). As in distribution's registry, bcrypt is the only
kind that counts: the others can be tried by the million a second.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import UsageError
from airgapbuild.mirror.extra import library

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BCRYPT = re.compile(
    r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII
)
"""What bcrypt can check a password against: four bits of the salt's last character are none."""
_MOST: Final = 72
"""Of a password's bytes, that bcrypt looks at."""


class Users:
    """Who may ask: one at least."""

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self._hashes = hashes
        self._decoy = next(iter(hashes.values()))
        """What nobody's password is checked against, so that no name is refused sooner."""
        self._proven: dict[str, bytes] = {}
        """By user: a quick hash of what was found right last. bcrypt takes its time on purpose."""

    async def find(self, headers: Mapping[str, str]) -> str:
        """The user that a request comes from; an empty name where it is none of these."""
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(encoded.strip(), validate=True)
            name, colon, password = decoded.decode().partition(":")
        except (binascii.Error, ValueError):
            return ""
        if scheme.lower() != "basic" or not colon:
            return ""
        seen = hashlib.sha256(password.encode()).digest()
        if self._proven.get(name) != seen:
            if not await asyncio.to_thread(self._is_right, name, password.encode()):
                return ""
            self._proven[name] = seen
        return name

    def _is_right(self, name: str, password: bytes) -> bool:
        if len(password) > _MOST:
            return False
        hashed = self._hashes.get(name, self._decoy)
        is_right: bool = library("bcrypt").checkpw(password, hashed)
        return is_right and name in self._hashes


def read_users(path: Path) -> Users:
    """The users in a file.

    Raises:
        UsageError: it cannot be read, has none, or a line is not `name:bcrypt`.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path}: {reason}") from error
    hashes, problems = {}, []
    for number, line in enumerate(lines, 1):
        name, colon, hashed = line.partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if name and colon and _BCRYPT.fullmatch(hashed):
            hashes[name] = hashed.encode()
        else:
            problems.append(f"{path}:{number}: is not 'name:' and a bcrypt hash")
    if not hashes and not problems:
        problems.append(f"{path}: names nobody")
    if problems:
        raise UsageError(*problems, hint=f"htpasswd -B {path} NAME writes such a line")
    library("bcrypt")
    return Users(hashes)
