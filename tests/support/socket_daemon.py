"""A daemon that answers as it is told, over a real socket: for what no real one does on request."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

from airgapbuild.engine.endpoint import find_endpoint

if TYPE_CHECKING:
    from pathlib import Path


def answer(document: object, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Socket:
    """A socket that gives each connection's first request the next of these answers, and closes."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.endpoint = find_endpoint(f"unix://{path}", {})
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        replies = list(answers)
        while replies:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(5)
                if connection.recv(1 << 16):  # else it was only a knock
                    connection.sendall(replies.pop(0))

    def close(self) -> None:
        self._thread.join()
        self._listener.close()
