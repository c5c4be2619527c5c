"""The adapters of the connected side: registries to read and to write, and images of a daemon."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airgapbuild.cli.inputs import own_folder
from airgapbuild.credentials import Logins
from airgapbuild.engine.endpoint import docker_folder
from airgapbuild.engine.saved import DaemonSource
from airgapbuild.errors import RegistryError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.transports import Transports
from airgapbuild.registry import RegistrySource, RegistryTarget, Remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.cli.console import Console
    from airgapbuild.engine.daemon import Daemon
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


@contextmanager
def registry_target(
    name: str, manifest: Manifest | None, console: Console
) -> Iterator[RegistryTarget]:
    """The registry to write to, reached as a manifest says, with the logins of this machine.

    While it lasts, hints at a manifest's table say which manifest, where there is none yet.
    """
    logins = Logins(os.environ, docker_folder(os.environ), console)
    remote = Remote(logins, progress=console, environ=os.environ)
    settings = manifest.registries.get(name) if manifest else None
    with closing(RegistryTarget(name, settings or RegistrySettings(), remote)) as target:
        try:
            yield target
        except RegistryError as error:
            if manifest is not None or f'[registries."{name}"]' not in (error.hint or ""):
                raise
            hint = f"{error.hint} of a manifest, and push --file airgapbuild.toml"
            raise RegistryError(*error.lines, hint=hint, status=error.status) from error


@contextmanager
def image_source(registries: RegistrySource, folder: Path) -> Iterator[Transports]:
    """Where the images of a manifest, which lies in `folder`, come from."""
    with closing(DaemonSource(_daemon, own_folder("XDG_CACHE_HOME", ".cache"))) as saved:
        yield Transports(registries, saved, folder)


def _daemon() -> Daemon:
    """The daemon that plain `docker` would talk to."""
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.engine.endpoint import find_endpoint

    return Daemon.connect(find_endpoint(None, os.environ))
