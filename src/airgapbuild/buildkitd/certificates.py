"""CAs that travel in the lock, so that the isolated side needs nothing else.

They are public. What else a PEM file may hold is not: only its certificates are taken over, written
anew, and a file with a private key is refused.
"""

from __future__ import annotations

import base64
import re
import ssl
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from airgapbuild.document import Many, Table
from airgapbuild.files import expanded
from airgapbuild.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_FILE: Final = 1 << 20
"""In bytes. Buildx reads no more of a file either (util/confutil/container.go)."""

_MARK = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_ODD = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def file_name(text: str) -> str:
    """A file's name as it can be written anywhere."""
    return _ODD.sub("_", text).lstrip(".-") or "_"


def certificates_in(text: str) -> str:
    """The certificates of a PEM text, and nothing else of it; the same for the same ones.

    Raises:
        ValueError: there is none, one of them is broken, or there is a private key beside them.
    """
    blocks = list(_blocks(text))
    if any(kind.endswith("PRIVATE KEY") for kind, _ in blocks):
        raise ValueError("holds a private key: name a file with certificates alone")
    try:
        pem = "".join(
            ssl.DER_cert_to_PEM_cert(base64.b64decode("".join(body.split()), validate=True))
            for kind, body in blocks
            if kind == "CERTIFICATE"
        )
        if pem:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ValueError, ssl.SSLError) as error:
        raise ValueError("holds a certificate that is broken") from error
    if not pem:
        raise ValueError("holds no certificate: it must be a PEM file")
    return pem


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """What a PEM text has, each with its kind; one without an end reaches to the next mark.

    Mark by mark, since a lock may hold megabytes of beginnings.
    """
    for mark, after in pairwise((*_MARK.finditer(text), None)):
        if mark and mark[1] == "BEGIN":
            yield mark[2], text[mark.end() : after.start() if after else None]


def _file_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"'{text}' is no name of a file here")
    return text


def read_small(path: Path) -> bytes:
    """The bytes of a file that buildx would take along.

    Raises:
        ValueError: it cannot be read, or is too large; without its name.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ValueError(error.strerror) from error
    if len(content) > _MAX_FILE:
        raise ValueError("is larger than 1 MiB")
    return content


class Certificate(Table):
    """A file of CAs."""

    name: Annotated[str, AfterValidator(_file_name)]
    pem: Annotated[str, AfterValidator(certificates_in)] = Field(
        description="The certificates, in PEM."
    )

    def __str__(self) -> str:
        return f"{self.name} {digest_of(self.pem.encode())[:19]}"


def _read(value: object, info: ValidationInfo) -> Certificate:
    if not isinstance(value, str):
        raise ValueError("must be the path of a PEM file")  # noqa: TRY004 - told by pydantic
    folder: Path = (info.context or {}).get("folder", Path())
    path = folder / expanded(Path(value))
    try:
        pem = certificates_in(read_small(path).decode("latin-1"))
        return Certificate(name=file_name(path.name), pem=pem)
    except ValueError as error:
        raise ValueError(f"'{path}': {error}") from error


def listed(value: object) -> object:
    """One text where several may stand."""
    return [value] if isinstance(value, str) else value


CertificateFiles = Annotated[
    Many[Annotated[Certificate, BeforeValidator(_read, json_schema_input_type=str)]],
    BeforeValidator(listed, json_schema_input_type=str | list[str]),
]
"""PEM files, by paths that are relative to the manifest; their content is read at once."""
