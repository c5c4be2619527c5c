"""Running a mirror until it is told to end."""

from __future__ import annotations

import asyncio
import resource
import signal
from typing import TYPE_CHECKING, Final

from airgapbuild.mirror.extra import library

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from airgapbuild.mirror.app import Mirror

GRACE: Final = 60
"""How long pulls that run may still take when it is told to end, in seconds."""
_FILES: Final = 65536
_IDLE: Final = 75
"""How long a connection stays open with nothing to do, in seconds."""


def run(mirror: Mirror, listening: socket.socket, pair: tuple[Path, Path] | None) -> None:
    """Serves until SIGTERM or Ctrl-C, then lets the pulls that run come to their end.

    A second Ctrl-C ends them. With a certificate and its key it speaks TLS.

    Raises:
        UsageError: the extra `serve` is not installed.
    """
    uvicorn = library("uvicorn")
    config = uvicorn.Config(
        mirror,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=pair and pair[0],
        ssl_keyfile=pair and pair[1],
    )
    _allow_files()
    # uvicorn takes both signals while it runs, and raises them again when it is done.
    before = {it: signal.signal(it, lambda *_: None) for it in (signal.SIGINT, signal.SIGTERM)}
    try:
        asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _allow_files() -> None:
    """Lifts a limit that is for programs with few files: each pull takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
