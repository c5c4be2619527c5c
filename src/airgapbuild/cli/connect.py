"""The adapters that commands hand to their steps: registries, the daemon, credentials."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airgapbuild.credentials import Logins
from airgapbuild.engine.endpoint import docker_folder
from airgapbuild.registry import RegistrySource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.cli.console import Console
    from airgapbuild.manifest import Manifest


@contextmanager
def registry_source(manifest: Manifest, console: Console) -> Iterator[RegistrySource]:
    """The registries, reached as the manifest says, with the logins of this machine and CI job."""
    logins = Logins(os.environ, docker_folder(os.environ), console)
    source = RegistrySource(manifest.registries, logins, progress=console, environ=os.environ)
    try:
        yield source
    finally:
        source.close()
