"""A socket between a client and a daemon that keeps what the client says."""

from __future__ import annotations

import socket
import threading
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
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._accepting.join()

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
            threading.Thread(target=self._pass, args=(client, daemon, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(daemon, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                if keep:
                    with self._grew:
                        self.sent += chunk
                        self._grew.notify_all()
                target.sendall(chunk)
        except OSError:
            pass
        finally:
            for side in (source, target):
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    side.close()
