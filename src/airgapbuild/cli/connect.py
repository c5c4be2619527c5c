"""The adapters that commands hand to their steps: registries, the daemon, credentials."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airgapbuild.engine.credentials import docker_credentials
from airgapbuild.registry import Credential, RegistrySource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.cli.console import Console
    from airgapbuild.manifest import Manifest


@contextmanager
def registry_source(manifest: Manifest, console: Console) -> Iterator[RegistrySource]:
    """The registries, reached as the manifest says, with the logins that docker knows."""
    logins = docker_credentials(os.environ, warn=console.note)

    def credentials(host: str) -> Credential | None:
        login = logins(host)
        return Credential(*login) if login else None

    source = RegistrySource(manifest.registries, credentials, progress=console, environ=os.environ)
    try:
        yield source
    finally:
        source.close()
