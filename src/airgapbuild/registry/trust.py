"""Whom a connection trusts, and who it says it is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airgapbuild.errors import ManifestError
from airgapbuild.tls import words_of

if TYPE_CHECKING:
    from airgapbuild.manifest import RegistrySettings


@dataclass(frozen=True)
class Trust:
    """What a TLS connection is made with; connections of one trust are shared."""

    ca: Path | None = None
    """Trusted besides the system's CAs."""
    insecure: bool = False
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, settings: RegistrySettings) -> Trust:
        """As a registry's settings have it."""
        return cls(settings.ca, settings.insecure, settings.cert, settings.key)

    @property
    def for_others(self) -> Trust:
        """The same CAs without the client certificate, for hosts that the registry points to."""
        return replace(self, cert=None, key=None)


def tls_context(trust: Trust) -> ssl.SSLContext:
    """The TLS context of a trust.

    Raises:
        ManifestError: a file of it cannot be read or holds something else.
    """
    context = _system_context()
    # What Docker takes, on every Python: a server's own certificate as its CA, and the private CAs
    # that lack an extension, which Python 3.13 has begun to refuse.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if trust.ca:
        try:
            context.load_verify_locations(trust.ca)
        except OSError as error:
            raise ManifestError(f"ca '{trust.ca}': {words_of(error)}", hint=_PEM) from error
    if trust.cert:
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(trust.cert, trust.key, password="")
        except OSError as error:
            what = f"cert '{trust.cert}'" + (f" with key '{trust.key}'" if trust.key else "")
            raise ManifestError(f"{what}: {words_of(error)}", hint=_PEM) from error
    return context


def _system_context() -> ssl.SSLContext:
    """A context that trusts what the system trusts, or SSL_CERT_FILE and SSL_CERT_DIR name.

    OpenSSL knows where that is, but for one that was built for another system, as in uv's Pythons:
    then the places of the distributions are tried.
    """
    context = ssl.create_default_context()
    known = ssl.get_default_verify_paths()
    if known.cafile or (known.capath and any(Path(known.capath).glob(_HASHED))):
        return context
    if bundle := next(filter(Path.is_file, map(Path, _BUNDLES)), None):
        context.load_verify_locations(bundle)
    return context


_HASHED = "????????.[0-9]"
"""How OpenSSL wants the files in a folder of CAs to be called."""
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)


def distrust(cause: BaseException, name: str) -> tuple[str, str | None]:
    """Why TLS failed with the registry `name`, and what to do about it."""
    settings = f'[registries."{name}"]'
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "its certificate must be renewed, or the registry called by the name in it"
        if cause.verify_code in _UNKNOWN_ISSUER:
            hint = f'if its CA is a private one: ca = "ca.pem" in {settings}'
        return f"its certificate is not trusted: {cause.verify_message}", hint
    reason = str(getattr(cause, "reason", None) or "handshake failed")
    hint = f"if it wants a client certificate: cert and key in {settings}"
    if reason in _PLAIN_HTTP:
        hint = f"if it speaks plain http: http = true in {settings}"
    return f"no TLS with it: {reason.replace('_', ' ').lower()}", hint


# OpenSSL's X509_V_ERR_ codes for an issuer that nobody here knows.
_UNKNOWN_ISSUER = frozenset({18, 19, 20, 21})
_PLAIN_HTTP = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_PEM = "it must be a PEM file; a key must have no password and belong to its certificate"
