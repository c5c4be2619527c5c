"""The mirror as an ASGI application: who may ask, what is sent, and a line for each request.

Source: ASGI HTTP specification 2.5; RFC 7617 (Basic); the log's lines are Apache's "combined".
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from airgapbuild.extents import CacheReader, Extent, batches, read
from airgapbuild.mirror.answers import Answer, Refusal, Request, answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping

    from airgapbuild.mirror.catalog import Blob, Catalog
    from airgapbuild.mirror.htpasswd import Users
    from airgapbuild.mirror.proven import ProvenFiles
    from airgapbuild.progress import Progress

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_CHUNK: Final = 256 << 10
"""How much of a blob each connection has in memory, in bytes, until it is sent."""
_CHALLENGE: Final = 'Basic realm="airgapbuild"'
_COMMON: Final = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Mirror:
    """Serves a catalog."""

    catalog: Catalog
    files: ProvenFiles
    users: Users | None
    log: Callable[[str], None]
    progress: Progress
    cached: CacheReader = field(default_factory=partial(CacheReader, _CHUNK))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        exchange = _Exchange(scope, receive, send)
        try:
            await self._serve(exchange)
        except OSError as error:  # where its head was sent, the connection is cut
            self.progress.note(f"{error.filename}: {error.strerror}")
        finally:
            self.log(exchange.line())

    async def _serve(self, exchange: _Exchange) -> None:
        request = exchange.request
        if request.path == "/healthz":
            found = Answer(200, {"Content-Type": "text/plain"}, b"ok\n")
        elif await self._is_welcome(exchange):
            found = answer(self.catalog, request)
        else:
            message = "a user and a password are wanted"
            found = Refusal(401, "UNAUTHORIZED", message, {"WWW-Authenticate": _CHALLENGE}).answer
        if found.blob is None or request.method == "HEAD":
            await exchange.reply(found)
            return
        async with aclosing(_chunks(self.files, self.cached, found.blob, found.span)) as chunks:
            try:
                first = await anext(chunks, b"")
            except OSError:
                message = f"{found.blob.digest} cannot be read; the log says why"
                await exchange.reply(Refusal(500, "UNKNOWN", message).answer)
                raise
            await exchange.stream(found, first, chunks)

    async def _is_welcome(self, exchange: _Exchange) -> bool:
        if self.users:
            exchange.user = await self.users.find(exchange.request.headers)
        return bool(exchange.user) or not self.users


class _Exchange:
    """One request, and what was answered so far."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._sent = 0
        self._status = 0
        self.user = ""
        self.request = Request(
            scope["method"],
            scope["path"],
            dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )

    async def reply(self, answer: Answer) -> None:
        """Sends an answer whose body is small, or is not wanted."""
        await self._start(answer)
        await self._body(b"" if self.request.method == "HEAD" else answer.body, more=False)

    async def stream(self, answer: Answer, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        """Sends an answer's blob, as long as somebody listens."""
        await self._start(answer)
        gone = asyncio.ensure_future(self._disconnected())
        try:
            await self._body(first, more=True)
            del first  # no chunk is held by two
            while self._sent < len(answer.span) and not gone.done():
                # Sending nothing waits for room as well: only then the next chunk is read.
                await self._body(b"", more=True)
                await self._body(await anext(rest, b""), more=True)
            if not gone.done():
                await self._body(b"", more=False)
        finally:
            gone.cancel()

    def line(self) -> str:
        """What the log says of it."""
        scope, headers = self._scope, self.request.headers
        host = (scope.get("client") or ("-",))[0]
        now = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        target = (scope["raw_path"] + query).decode("latin-1")
        asked = f"{self.request.method} {target} HTTP/{scope['http_version']}"
        quoted = [headers.get(it, "-").replace('"', "'") for it in ("referer", "user-agent")]
        return (
            f'{host} - {self.user or "-"} [{now}] "{asked}" {self._status} {self._sent} '
            f'"{quoted[0]}" "{quoted[1]}"'
        )

    async def _start(self, answer: Answer) -> None:
        length = len(answer.span) if answer.blob else len(answer.body)
        headers = {**_COMMON, **answer.headers}
        if answer.status != HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(length)
        self._status = answer.status
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": encoded}
        )

    async def _body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._sent += len(body)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _chunks(
    files: ProvenFiles, cached: CacheReader, blob: Blob, span: range
) -> AsyncGenerator[bytes]:
    """The bytes of a span of a blob. Only what a disk has yet to give is read in a thread."""
    path, handle = None, -1
    try:
        for batch in batches(blob.extents(span.start, span.stop), _CHUNK):
            if batch[0].path != path:
                if path:
                    os.close(handle)
                    path = None
                handle, path = files.open(batch[0].path), batch[0].path
            yield await _read(handle, batch, cached)
    finally:
        if path:
            os.close(handle)


async def _read(handle: int, batch: list[Extent], cached: CacheReader) -> bytes:
    chunk = cached.read(handle, batch)
    return await asyncio.to_thread(read, handle, batch) if chunk is None else chunk
