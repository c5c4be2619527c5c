"""Files of the isolated machine that the builder is to have: client certificates and their keys.

No lock and no bundle holds a private key, so `load` reads them where it runs. They are proven
before anything is written: BuildKit would tell of a wrong one in a build, and of a missing folder
never.

Source: moby/buildkit util/resolver/resolver.go, `loadTLSConfig`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from airgapbuild.builder.placement import placements
from airgapbuild.buildkitd.certificates import read_small
from airgapbuild.errors import BuilderError
from airgapbuild.tls import check_pair

if TYPE_CHECKING:
    from airgapbuild.lockfile import Lock

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----(\s*Proc-Type: 4,ENCRYPTED)?")
_HINT = "keys do not travel in a bundle: what the lock names must be on this machine"


def files_there(lock: Lock) -> dict[str, bytes]:
    """What `keypair` and `tlsconfigdir` name for a builder, by their places in /etc/buildkit.

    Nothing where no builder is made, or one that runs already.

    Raises:
        BuilderError: something is missing, unreadable, not PEM or not a pair: all, one a line.
    """
    if lock.builder is None or lock.builder.driver == "remote":
        return {}
    buildkitd = lock.buildkitd
    files: dict[str, bytes] = {}
    problems = []
    for host, placement in placements(buildkitd).items():
        registry = buildkitd.registry[host]
        places = placement.there
        for pair in registry.keypair:
            try:
                cert, key = _pair(Path(pair.cert).expanduser(), Path(pair.key).expanduser())
                files |= {places[pair.cert]: cert, places[pair.key]: key}
            except ValueError as error:
                problems.append(f'buildkitd.registry."{host}".keypair: {error}')
        for folder in registry.tlsconfigdir:
            try:
                found = _folder(Path(folder).expanduser())
                files |= {f"{places[folder]}/{name}": found[name] for name in found}
            except ValueError as error:
                problems.append(f'buildkitd.registry."{host}".tlsconfigdir: {error}')
    if problems:
        raise BuilderError(*problems, hint=_HINT)
    return files


def _pair(cert: Path, key: Path) -> tuple[bytes, bytes]:
    content = _certificate(cert), _read(key)
    found = _KEY.search(content[1])
    if found is None:
        raise ValueError(f"{key}: holds no private key in PEM")
    if found[1] == b"ENCRYPTED " or found[2]:
        raise ValueError(f"{key}: has a password, for which BuildKit cannot ask")
    check_pair(cert, key)
    return content


def _folder(folder: Path) -> dict[str, bytes]:
    """What BuildKit takes from such a folder: CAs and pairs."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder}: {error.strerror}") from error
    files = {path.name: _certificate(path) for path in paths if path.suffix == ".crt"}
    for cert in paths:
        if cert.suffix == ".cert":
            key = cert.with_suffix(".key")
            files[cert.name], files[key.name] = _pair(cert, key)
    if not files:
        raise ValueError(f"{folder}: holds neither a *.crt nor a *.cert with its *.key")
    return files


def _certificate(path: Path) -> bytes:
    content = _read(path)
    if _CERTIFICATE not in content:
        raise ValueError(f"{path}: holds no certificate in PEM")
    return content


def _read(path: Path) -> bytes:
    try:
        return read_small(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
