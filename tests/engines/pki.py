"""A private certificate authority, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OUTSIDE = "registry.test"
"""A name of the loopback that only the bed's proxy knows."""

DOCKER_HUB = "registry-1.docker.io"
"""The loopback's name in a namespace where a registry of the bed stands for Docker Hub."""

INSIDE = "registry.inside.example"
"""The loopback's name in a namespace where a registry of the bed stands for one behind the gap."""

_EXTENSIONS = (
    f"subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:{OUTSIDE},DNS:{DOCKER_HUB},DNS:{INSIDE}\n"
    "extendedKeyUsage=serverAuth,clientAuth\n"
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path


def _openssl(*argv: str | Path) -> None:
    subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)


def authority(folder: Path, name: str = "ca", algorithm: str = "ec") -> Pair:
    """Make a self-signed authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if algorithm == "ec" else ()
    new = ("-newkey", algorithm, *curve, "-nodes", "-days", "2", "-subj", f"/CN=test bed {name}")
    _openssl("req", "-x509", *new, "-keyout", pair.key, "-out", pair.cert)
    return pair


def issue(ca: Pair, folder: Path, name: str = "") -> Pair:
    """Make a certificate for this machine by all its names, good for servers and for clients."""
    prefix = f"{name}-" if name else ""
    pair = Pair(folder / f"{prefix}cert.pem", folder / f"{prefix}key.pem")
    request, extensions = folder / f"{prefix}csr.pem", folder / f"{prefix}extensions"
    extensions.write_text(_EXTENSIONS)
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256")
    new = ("-newkey", "ec", *curve, "-nodes", "-subj", "/CN=test bed")
    _openssl("req", *new, "-keyout", pair.key, "-out", request)
    signed = ("-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial", "-days", "2")
    _openssl("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", pair.cert)
    return pair
