"""One load of one image: what has to be sent, sending it, and the proof.

A stream that ends well proves nothing: the containerd store reports a failed unpacking as a line of
text, and a layer may be gone by the time it is needed. So the daemon is asked before and after.

Source: moby daemon/internal/image/tarexport/load.go (classic: a layer whose chain is there is never
opened), daemon/containerd/image_exporter.go (containerd: content that is there need not come).
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airgapbuild.errors import DaemonError
from airgapbuild.oci.archive import archive_chunks, archive_members, archive_size

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from airgapbuild.engine.connection import Connection
    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Task

    Read: TypeAlias = Callable[[Descriptor], Iterator[bytes]]

_UNPACKING_FAILED = "Error unpacking image"
_DISK_FULL = "no space left on device"
_BRING = (
    "the daemon does not hold the very layers that the differential bundle leaves out: give the "
    "bundle that has them, too: airgapbuild load BASE BUNDLE"
)
_MIB = 1 << 20


@dataclass(frozen=True)
class LoadOutcome:
    """What a load came to."""

    action: Literal["present", "named", "loaded"]
    """present: all was there. named: the image was there, without some name. loaded: it was not."""
    sent: int
    """Bytes that went to the daemon."""


class Loading:
    """One image on its way into one daemon."""

    def __init__(
        self,
        daemon: Daemon,
        connection: Connection,
        image: PlatformImage,
        names: tuple[Reference, ...],
    ) -> None:
        self._daemon = daemon
        self._connection = connection
        # They tell how an image was built and who vouches for it; nothing needs them to run it.
        self._image = replace(image, attestations=(), referrers=(), upstream=())
        self._names = names
        self._expected = daemon.expected_id(image)

    def run(self, read: Read, task: Task, absent: frozenset[Digest]) -> LoadOutcome:
        """See `Daemon.load`."""
        stream = _Stream(read, task)
        if self._daemon.holds(self._image, self._names):
            return LoadOutcome("present", 0)
        if self._daemon.holds(self._image):
            # The image may be taken away meanwhile, as one without a name easily is.
            with suppress(DaemonError):
                self._send(stream, frozenset(layer.digest for layer in self._image.layers))
                self._prove()
                return LoadOutcome("named", stream.sent)
        self._load(stream, absent)
        return LoadOutcome("loaded", stream.sent)

    def _load(self, stream: _Stream, absent: frozenset[Digest]) -> None:
        """Without the layers that seem to be there; with all of them where that does not do."""
        held = self._daemon.held_layers(self._image)
        if missing := sorted(absent - held):
            raise DaemonError(f"{self._label}: layer {missing[0]} is gone", hint=_BRING)
        if held:
            try:
                self._send(stream, held)
                self._prove()
            except DaemonError as error:
                # Pruned meanwhile, or the same files in another compression: both are rare.
                if absent:
                    raise DaemonError(*error.lines, hint=error.hint or _BRING) from error
            else:
                return
        self._send(stream, frozenset())
        self._prove()

    def _send(self, stream: _Stream, left_out: frozenset[Digest]) -> None:
        """One load request, for all names at once.

        Raises:
            DaemonError: the daemon reports an error of any kind.
        """
        members = archive_members(
            self._image, self._names, wanted=lambda blob: blob.digest not in left_out
        )
        size = archive_size(members)
        body = stream.outgoing(archive_chunks(members, stream.read), size)
        try:
            with closing(body), closing(self._connection.load(body)) as lines:
                for line in lines:
                    self._check(line, size)
        except DaemonError as error:
            if stream.failure is not None:
                # The daemon only complains that the stream broke off. This is why.
                raise stream.failure from error
            raise

    def _check(self, line: dict[str, Any], size: int) -> None:
        detail = line.get("errorDetail")
        said = str(line.get("stream", ""))
        words = (
            str(detail.get("message")) if isinstance(detail, dict) else str(line.get("error", ""))
        )
        if not words and said.startswith(_UNPACKING_FAILED):
            words = said.strip()
        if not words:
            return
        hint = None
        if _DISK_FULL in words:
            # A containerd of its own, as Docker's packages bring it, keeps its content elsewhere.
            also = " or /var/lib/containerd" if self._daemon.store == "containerd" else ""
            hint = (
                f"make room below {self._daemon.root_dir}{also} on the daemon's machine "
                f"(docker system prune): {-(-size // _MIB)} MiB for the archive, more to unpack it"
            )
        raise DaemonError(f"{self._label}: the daemon could not load it: {words}", hint=hint)

    def _prove(self) -> None:
        """Returns only if the daemon holds the very image under every name.

        Containerd's store finds an image by a repository and a digest where a tag of that
        repository leads to it, so tags say all.

        Raises:
            DaemonError: it does not.

        Source: moby daemon/containerd/image.go, `resolveImage`.
        """
        if self._daemon.holds(self._image, self._names):
            return
        for name in self._names:
            held = self._daemon.image(str(name))
            if held is None or held.id != self._expected:
                got = held.id if held else "nothing"
                raise DaemonError(f"{name} after the load: expected {self._expected}, got {got}")
        raise DaemonError(f"{self._label} after the load: some of its content is missing")

    @property
    def _label(self) -> str:
        return self._names[0].familiar if self._names else self._expected


class _Stream:
    """Bytes to the daemon, counted, and what went wrong with them on our side."""

    def __init__(self, read: Read, task: Task) -> None:
        self.read = read
        self.sent = 0
        self.failure: Exception | None = None
        self._task = task

    def outgoing(self, chunks: Iterable[bytes], size: int) -> Generator[bytes]:
        """The same chunks, of so many bytes in all.

        An OSError of a source would look like one of the socket to requests, so it is kept.
        """
        self._task.expect(self.sent + size)
        try:
            for chunk in chunks:
                yield chunk
                self.sent += len(chunk)
                self._task.advance(len(chunk))
        except Exception as error:
            self.failure = error
            raise
