"""Certificates and their keys, as OpenSSL takes them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def check_pair(cert: Path, key: Path) -> None:
    """Returns only if a certificate and a key without a password belong together.

    Raises:
        ValueError: they do not, or one of them cannot be read.
    """
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from error
    try:
        # An empty password is an error where one is wanted; without one, OpenSSL would ask.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except OSError as error:
        raise ValueError(f"{cert} with {key}: are no pair: {words_of(error)}") from error


def words_of(error: OSError) -> str:
    """The words of an OSError; `ssl.SSLError` is one, with OpenSSL's words under `reason`."""
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or "cannot be used").replace("_", " ").lower()
