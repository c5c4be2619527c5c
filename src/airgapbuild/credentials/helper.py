"""The programs that keep logins in a keychain or fetch them from a cloud.

Source: docker/docker-credential-helpers, credentials/credentials.go (`Serve`, `Get`) and
client/command.go.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from airgapbuild.credentials.credential import Credential
from airgapbuild.oci.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUB_SERVER = "https://index.docker.io/v1/"
_NOT_FOUND = b"credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - the protocol's word for "the secret is an identity token"


class HelperError(Exception):
    """A helper is not there or did not do its work. What it said may be a secret: not quoted."""


def ask_helper(helper: str, host: str, environ: Mapping[str, str]) -> Credential | None:
    """What `docker-credential-<helper>` knows for a host; None if it knows nothing.

    Raises:
        HelperError: it is not on PATH, fails, or answers something else.
    """
    program = f"docker-credential-{helper}"
    path = shutil.which(program, path=environ.get("PATH"))
    if not path:
        raise HelperError(f"{program} is not on PATH")
    server = _HUB_SERVER if host == DOCKER_HUB else host
    try:
        done = subprocess.run(
            [path, "get"],
            input=server.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            check=False,
        )
    except OSError as error:
        raise HelperError(f"{program}: {(error.strerror or 'cannot be run').lower()}") from None
    if done.returncode and _NOT_FOUND in done.stdout:
        return None
    if done.returncode:
        again = f"see: echo {server} | {program} get"
        raise HelperError(f"{program} failed with exit code {done.returncode}; {again}")
    return _credential(program, done.stdout)


def _credential(program: str, raw: bytes) -> Credential | None:
    try:
        answer: Any = json.loads(raw)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise HelperError(f"{program} did not answer with a login") from None
    if username == _TOKEN_USER:
        return Credential(_TOKEN_USER, "", str(secret))
    return Credential(str(username), str(secret)) if username else None
