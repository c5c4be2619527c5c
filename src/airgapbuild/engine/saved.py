"""Images that a Docker daemon holds, as a source: what was built here and lies in no registry.

An image is asked for as `docker save` does, and laid out in a folder, blob by blob. The containerd
store gives the very content that it was built or pulled as. The classic store of Docker 25 and
newer makes a manifest over uncompressed layers, the same one each time. Elder ones give layers
without any manifest, which cannot be pinned.

Source: Docker Engine API, `GET /images/{name}/get`; moby daemon/internal/image/tarexport/save.go.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from airgapbuild.engine.archive import saved_files
from airgapbuild.errors import DaemonError
from airgapbuild.files import reaching
from airgapbuild.oci.archive import blob_digest
from airgapbuild.oci.content import MAX_DOCUMENT, Descriptor
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.local import LayoutSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.oci.content import Content
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference

_ANOTHER: Final = "XDG_CACHE_HOME names another folder"
_INDEX: Final = "index.json"


class DaemonSource:
    """Gives what a daemon holds. Each image is saved once, when it is first asked for.

    `connect` is called then. What was saved lies in folders below `cache` until `close`. Safe to
    use from many threads.
    """

    def __init__(self, connect: Callable[[], Daemon], cache: Path) -> None:
        self._connect = connect
        self._cache = cache
        self._saved: dict[str, LayoutSource] = {}
        self._folders = ExitStack()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Removes what was saved."""
        self._folders.close()

    def manifest(self, reference: Reference) -> Content:
        """The manifest or index that the daemon has under this name, or at this digest of it.

        Raises:
            DaemonError: the daemon does not give it, or has something else under the name now.
            IntegrityError: a blob that it gives is not of its digest.
            UsageError: what was saved cannot be kept.
        """
        source = self._source(reference)
        if reference.digest is None:
            return source.manifest(replace(reference, tag=None))  # nothing else was saved
        found = source.find(reference)
        if found is None:
            raise DaemonError(
                f"{_name(reference)} is another image now: {reference.digest} is no part of it",
                hint="`airgapbuild lock --upgrade` pins what it is now",
            )
        return found

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """See `Source.blob`."""
        return self._source(reference).blob(reference, descriptor)

    def part(
        self, reference: Reference, descriptor: Descriptor, start: int, stop: int
    ) -> Iterator[bytes]:
        """See `RangedSource.part`."""
        return self._source(reference).part(reference, descriptor, start, stop)

    def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """None: a daemon keeps only images."""
        del reference, digest
        return ()

    def find(self, reference: Reference) -> Content | None:
        """A part of an image by its digest, None where it is not held; there are no other tags."""
        return self._source(reference).find(reference) if reference.digest else None

    def _source(self, reference: Reference) -> LayoutSource:
        """The layout of a saved image. One thread saves it, the others wait."""
        name = _name(reference)
        with self._lock:
            if name not in self._saved:
                folder = self._scratch()
                with self._connect() as daemon:
                    save(daemon, name, folder)
                self._saved[name] = LayoutSource(folder)
            return self._saved[name]

    def _scratch(self) -> Path:
        """A folder that goes with all others at the end.

        Raises:
            UsageError: it cannot be made.
        """
        with reaching(self._cache, _ANOTHER):
            self._cache.mkdir(parents=True, exist_ok=True)
            scratch = TemporaryDirectory(prefix="saved-", dir=self._cache)
        return Path(self._folders.enter_context(scratch))


def save(daemon: Daemon, name: str, folder: Path) -> None:
    """Lays an image of a daemon out as an OCI layout; every blob is verified.

    Raises:
        DaemonError: the daemon has no such image, is older than Docker 25, or breaks off.
        IntegrityError: a blob is not what its name says.
        UsageError: the folder cannot be written.
    """
    if daemon.image(name) is None:
        hint = "see `docker image ls`; DOCKER_HOST or `docker context use` name another daemon"
        raise DaemonError(
            f"{name}: the daemon at {daemon.endpoint.host} has no such image", hint=hint
        )
    layout = Layout(folder, _ANOTHER)
    index = None
    for path, size, file in saved_files(daemon.save(name), name):
        if digest := blob_digest(path):
            layout.put(Descriptor(media_type="", digest=digest, size=size), file.chunks())
        elif path == _INDEX:
            index = file.read(MAX_DOCUMENT)
    if index is None:
        raise DaemonError(
            f"{name}: Docker {daemon.version} saves it without a manifest, so it cannot be pinned",
            hint="Docker 25 or newer can; or write a layout and name it as oci-layout:DIR: "
            "docker buildx build --output type=oci,dest=DIR,tar=false .",
        )
    with layout.reaching():
        (folder / _INDEX).write_bytes(index)


def _name(reference: Reference) -> str:
    """The name as the daemon knows it."""
    return f"{reference.name}:{reference.tag}"
