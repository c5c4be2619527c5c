"""A link with latency, and with a limit for each connection, in front of a server on the loopback.

It is a process of its own: `tc` can do neither where the kernel lacks netem and fq. What is sent
into it comes out after `delay` seconds; a new connection costs a round trip more, as its handshake
would; towards the client the kernel paces each connection to `rate` bytes a second.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 64 << 10
_AHEAD = 64
"""Chunks that are on the way in one direction."""
_MAX_PACING_RATE = getattr(socket, "SO_MAX_PACING_RATE", 47)


class Link:
    """The way to `address` by such a link, as a context manager."""

    def __init__(self, address: str, *, delay: float = 0.0, rate: int = 0) -> None:
        self._argv = (sys.executable, "-m", __name__, address, str(delay), str(rate))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()  # it ends with its standard input


async def _serve(host: str, port: int, delay: float, rate: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if rate:
            client = writer.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, _MAX_PACING_RATE, rate)
        await asyncio.sleep(2 * delay)
        back, forth = await asyncio.open_connection(host, port)
        with suppress(OSError):
            await asyncio.gather(_carry(reader, forth, delay), _carry(back, writer, delay))
        forth.close()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)  # connections may be open, and nobody is left to care


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)

    async def send() -> None:
        while True:
            due, chunk = await on_the_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        while True:
            chunk = await reader.read(_CHUNK)
            await on_the_way.put((loop.time() + delay, chunk))
            if not chunk:
                await sending
                return
    finally:
        sending.cancel()


if __name__ == "__main__":
    address, delay, rate = sys.argv[1:]
    host, _, port = address.rpartition(":")
    asyncio.run(_serve(host, int(port), float(delay), int(rate)))
