"""A forward proxy on the loopback, by which names are known that nobody else knows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.engines import process
from tests.engines.pki import OUTSIDE

if TYPE_CHECKING:
    from tests.engines.parts.part import Shelf
    from tests.engines.registry import User

# Only in a mount namespace of the proxy's own: whoever goes past it does not know the name.
_KNOWING = ("unshare", "--mount", "--", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')
_CONFIG = """\
Listen 127.0.0.1
Port {port}
LogLevel Connect
MaxClients 100
"""


@dataclass
class Proxy(process.Service):
    """A running tinyproxy, as a context manager that stops it.

    It finds `pki.OUTSIDE` on this machine, so a registry of the loopback can be asked by that name,
    through the proxy and in no other way.
    """

    address: str
    folder: Path
    _process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, bed: Shelf, *, user: User | None = None) -> Self:
        """Start the proxy and return when it listens; with a user it wants a login."""
        binary = bed.part("proxy") / "tinyproxy"
        folder = Path(tempfile.mkdtemp(prefix="bed-proxy-"))
        port = _free_port()
        login = f"BasicAuth {user[0]} {user[1]}\n" if user else ""
        (folder / "tinyproxy.conf").write_text(_CONFIG.format(port=port) + login)
        (folder / "hosts").write_text(f"127.0.0.1 localhost {OUTSIDE}\n")
        argv = (*_KNOWING, folder / "hosts", binary, "-d", "-c", folder / "tinyproxy.conf")
        log = folder / "tinyproxy.log"
        running = process.start(argv, log, {"PATH": os.environ["PATH"]})
        proxy = cls(f"127.0.0.1:{port}", folder, running)
        try:
            process.until(lambda: _listens(port), running, log)
        except BaseException:
            proxy.stop()
            raise
        return proxy

    @property
    def asked(self) -> list[str]:
        """What it was asked for, in order: `CONNECT host:port`, or `GET url`."""
        log = (self.folder / "tinyproxy.log").read_text()
        requests = (line.partition("): ")[2] for line in log.splitlines() if "Request (" in line)
        return [request.rpartition(" ")[0] for request in requests]

    def stop(self) -> None:
        """End the proxy and remove its files; a second time does nothing."""
        process.stop(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    """Return a port that is free now: tinyproxy takes none that the kernel chooses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool | None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return None
