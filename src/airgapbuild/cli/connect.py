"""The adapters that commands hand to their steps: registries, the daemon, credentials."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airgapbuild.cli.inputs import own_folder
from airgapbuild.engine.credentials import docker_credentials
from airgapbuild.engine.saved import DaemonSource
from airgapbuild.oci.transports import Transports
from airgapbuild.registry import Credential, RegistrySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.cli.console import Console
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.manifest import Manifest
    from airgapbuild.oci.source import ReferringSource


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


@contextmanager
def image_source(manifest: Manifest, folder: Path, console: Console) -> Iterator[ReferringSource]:
    """Where the images of a manifest, which lies in `folder`, come from."""
    saved = DaemonSource(_daemon, own_folder("XDG_CACHE_HOME", ".cache"))
    with registry_source(manifest, console) as registries, closing(saved):
        yield Transports(registries, saved, folder)


def _daemon() -> Daemon:
    """The daemon that plain `docker` would talk to."""
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.engine.endpoint import find_endpoint

    return Daemon.connect(find_endpoint(None, os.environ))
