"""A socket between a client and a daemon that keeps what the client says."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_CHUNK = 1 << 16


class Relay:
    """Passes bytes both ways between `path` and a daemon's socket, as a context manager."""

    def __init__(self, daemon: Path, path: Path) -> None:
        self.path = path
        self.sent = bytearray()
        self._daemon = daemon
        self._grew = threading.Condition()
        self._sides: list[socket.socket] = []
        self._passing: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self._server)
        self._accepting.join()
        for side in self._sides:
            _end(side)
        for thread in self._passing:
            thread.join()

    def wait_for(self, size: int) -> None:
        """Returns when the client has sent so many bytes."""
        with self._grew:
            assert self._grew.wait_for(lambda: len(self.sent) >= size, timeout=60)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(str(self._daemon))
            self._sides += [client, daemon]
            for ends in ((client, daemon, True), (daemon, client, False)):
                thread = threading.Thread(target=self._pass, args=ends)
                thread.start()
                self._passing.append(thread)

    def _pass(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if keep:
                    with self._grew:
                        self.sent += chunk
                        self._grew.notify_all()
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _end(side: socket.socket) -> None:
    """Closes a socket that a thread may be waiting on, and lets the thread know."""
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()
