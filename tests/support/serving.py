"""`airgapbuild serve` as a process of its own, and requests to it."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import urllib3

from tests.support.program import HEARS_SIGNALS, PROGRAM, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass
class Serving:
    """A running one."""

    document: dict[str, Any]
    process: subprocess.Popen[str]
    log: Path
    """What it says on stderr: its log."""
    pool: urllib3.PoolManager

    @property
    def url(self) -> str:
        url: str = self.document["url"]
        return url

    @property
    def address(self) -> str:
        return self.url.partition("://")[2]

    @property
    def place(self) -> tuple[str, int]:
        """Where a socket connects to."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def ask(self, path: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
        """An answer as it is; `_` in the name of a header stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.pool.request(
            method, self.url + path, headers=named, redirect=False, retries=False
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        """Tells it to end, and gives its exit code."""
        self.pool.clear()
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def serving(
    log: Path,
    *arguments: str | Path,
    listen: str = "127.0.0.1:0",
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    ca: Path | None = None,
) -> Iterator[Serving]:
    """Starts one on a free port, and ends it with the block."""
    argv = (*prefix, *HEARS_SIGNALS, PROGRAM, "serve", "--json", "--listen", listen, *arguments)
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [*map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={"XDG_CACHE_HOME": str(log.parent / "cache"), **environment(env)},
        ) as process,
    ):
        try:
            assert process.stdout
            document = _document(process.stdout)
            assert document, log.read_text()
            pool = urllib3.PoolManager(ca_certs=ca and str(ca))
            yield Serving(document, process, log, pool)
        finally:
            if process.poll() is None:
                process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


def _document(stdout: IO[str]) -> dict[str, Any]:
    """The document that it prints when it listens; an empty one where it has ended before."""
    lines = []
    for line in stdout:
        lines.append(line)
        if line == "}\n":
            break
    document: dict[str, Any] = json.loads("".join(lines) or "{}")
    return document
