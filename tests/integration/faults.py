"""A server that answers as it is told: what no real registry does on request.

It is a real HTTP server on a real socket of the loopback. Each path has its replies, given in turn,
the last one again and again; what is not scripted is not found. Everything asked is kept.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    """After so many bytes of the body the connection is closed."""
    stall: int | None = None
    """After so many bytes of the body nothing comes until the server stops."""
    unsized: bool = False
    """Whether the head says nothing of the body's length; its end is the connection's."""
    hang: bool = False
    """Whether nothing at all is answered until the server stops."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    def span(self, size: int) -> tuple[int, int] | None:
        """The bytes that are asked for of so many, the second excluded; None if all are."""
        first, dash, last = self.headers.get("range", "").removeprefix("bytes=").partition("-")
        return (int(first), min(int(last) + 1, size)) if dash else None


Script = Reply | list[Reply]


def errors(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error as the distribution specification has it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return document(status, body, headers)


def document(
    status: int, body: bytes | dict[str, Any], headers: Mapping[str, str] | None = None
) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, raw, {"Content-Type": "application/json", **(headers or {})})


def ranged(body: bytes, asked: Asked, **faults: Any) -> Reply:
    """What of a body is asked for, as servers answer that know ranges."""
    if (span := asked.span(len(body))) is None:
        return Reply(body=body, **faults)
    start, stop = span
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
    return Reply(206, body[start:stop], headers, **faults)


def challenge(text: str) -> Reply:
    """The answer to somebody who is not logged in."""
    return errors(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": text})


class Server:
    """The server, as a context manager that stops it. `script` and `when` may change any time."""

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        host: str = "localhost",
        bind: str = "127.0.0.1",
        raw: bytes | None = None,
    ) -> None:
        self.script: dict[str, Script] = {}
        self.guards: dict[str, Callable[[Asked], Reply | None]] = {}
        """By path prefix: a reply that depends on the request, None to leave it to the script."""
        self.raw = raw
        """What is sent to everybody instead of HTTP."""
        self.asked: list[Asked] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._given: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._server = _Http(self, bind)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.address = f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def reply(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            for prefix, guard in self.guards.items():
                if asked.path.startswith(prefix) and (reply := guard(asked)):
                    return reply
            path = asked.path.partition("?")[0]
            replies = self.script.get(path, errors(404, "UNKNOWN", "not in the script"))
            if isinstance(replies, Reply):
                return replies
            turn = min(self._given[path], len(replies) - 1)
            self._given[path] += 1
            return replies[turn]


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, owner: Server, bind: str) -> None:
        super().__init__((bind, 0), _Handler)
        self.owner = owner

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    wbufsize = 1 << 16  # head and body in one packet: Nagle would hold the second back
    server: _Http

    def handle(self) -> None:
        self.server.owner.connections += 1
        if self.server.owner.raw is None:
            super().handle()
        else:
            self.wfile.write(self.server.owner.raw)

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, self.rfile.read(size))
        if len(asked.body) < size:  # the client went away
            self.close_connection = True
            return
        reply = self.server.owner.reply(asked)
        if reply.hang:
            self.server.owner.stopping.wait(10)
            self.close_connection = True
            return
        self.send_response(reply.status)
        length = {} if reply.unsized else {"Content-Length": str(len(reply.body))}
        for name, value in {**length, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: reply.stall if reply.cut is None else reply.cut])
        if reply.stall is not None:
            self.wfile.flush()
            self.server.owner.stopping.wait(10)
        if reply.unsized or reply.cut is not None or reply.stall is not None:
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the names that http.server wants

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
