"""Docker daemons of every engine of the bed, side by side, each sealed in a network namespace."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tests.engines import pki, process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

Engine = Literal["20.10", "26.1", "28.5", "newest"]
Store = Literal["classic", "containerd"]
Buildx = Literal["0.13", "0.29", "newest"]

ENGINES: tuple[Engine, ...] = ("20.10", "26.1", "28.5", "newest")
STORES: tuple[Store, ...] = ("classic", "containerd")
BUILDX: tuple[Buildx, ...] = ("0.13", "0.29", "newest")
PAIRS: tuple[tuple[Engine, Store], ...] = tuple(
    (engine, store)
    for engine in ENGINES
    for store in STORES
    if (engine, store) != ("20.10", "containerd")  # came with 23.0
)
DISTINCT: tuple[tuple[Engine, Store], ...] = (
    ("20.10", "classic"),
    ("26.1", "containerd"),
    ("newest", "classic"),
    ("newest", "containerd"),
)
"""Those that answer in ways of their own: the oldest, a containerd store that tells of no
manifests, and the newest of both stores. Enough where what is tested goes by those answers; that a
pair loads, names, boots and builds is tested with all of them."""

_SYS_RESOURCE = 1 << 24  # linux/capability.h


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)


BOOTING = tuple(pair for pair in PAIRS if pair[0] != "20.10" or _capabilities() & _SYS_RESOURCE)
"""Those that can run a builder here: 20.10 asks for every capability that it knows of."""

TLS_HOST = "tcp://127.0.0.1:2376"

_RELOADED = b"Reloaded configuration"
# Then its containers have ended. It sleeps a second more before it looks after its containerd.
_IS_DOWN = b"healthcheck following graceful shutdown"

# In a PID and a mount namespace of their own, everything that a daemon starts (containerd, shims,
# containers) ends with it, and everything that it mounts is gone.
_OWN_WORLD = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Daemon(process.Service):
    """A running daemon, as a context manager that stops it; all its files are in one folder."""

    engine: Engine
    store: Store
    namespace: Namespace
    folder: Path
    host: str
    """What DOCKER_HOST must be."""
    env: dict[str, str]
    """The whole environment for a client; programs run with it inside the namespace."""
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def socket(self) -> Path:
        """Where the daemon listens, with TLS too."""
        return self.folder / "docker.sock"

    @property
    def log(self) -> Path:
        """The daemon's own output."""
        return self.folder / "dockerd.log"

    @property
    def data_root(self) -> Path:
        """The daemon's data, seen as the daemon sees it (it may be a mount of its own)."""
        return Path(f"/proc/{self._inner()}/root{self.folder}/data")

    def _inner(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(children.read_text().split()[0])

    @classmethod
    def start(
        cls,
        bed: Shelf,
        engine: Engine,
        store: Store,
        namespace: Namespace,
        *,
        tls: bool = False,
        data_size_mb: int | None = None,
        data: Path | None = None,
    ) -> Self:
        """Start a daemon with nothing in it and return when it answers.

        With `tls` clients reach it as in GitLab's docker-in-docker. With `data_size_mb` its data
        are in memory and it can hold no more than that. In the folder `data` they outlive it.
        """
        programs = bed.part(f"engines/{engine}") / "bin"
        folder = Path(tempfile.mkdtemp(prefix="bed-docker-"))
        for name in ("home", "config"):
            (folder / name).mkdir()
        if data:
            (folder / "data").symlink_to(data)
        else:
            (folder / "data").mkdir()
        env = {
            "PATH": f"{programs}:{_SYSTEM_PATH}",
            "HOME": str(folder / "home"),
            "DOCKER_CONFIG": str(folder / "config"),
        }
        daemon_env = dict(env)
        listen: tuple[str | Path, ...] = ("-H", f"unix://{folder}/docker.sock")
        host = f"unix://{folder}/docker.sock"
        if tls:
            listen, host = (*listen, *_tls_flags(folder)), TLS_HOST
            env |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder / "client")}
        world = _world(namespace, folder, data_size_mb)
        argv = (*world, "docker-init", "--", "dockerd", *_flags(engine, store, folder), *listen)
        log = folder / "dockerd.log"
        running = process.start(argv, log, daemon_env)
        env["DOCKER_HOST"] = host
        daemon = cls(engine, store, namespace, folder, host, env, running)
        try:
            process.until(lambda: _ping(daemon.socket), running, log)
        except BaseException:
            daemon.stop()
            raise
        return daemon

    def stop(self) -> None:
        """End the daemon and its containers, and remove its files; a second time does nothing."""
        process.stop(self._process, lambda: _IS_DOWN in self.log.read_bytes())
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def mirrored(self, url: str) -> Iterator[None]:
        """With a mirror of Docker Hub, which it takes while it runs; then without it again."""
        try:
            self._reload(**{"registry-mirrors": [url]})
            yield
        finally:
            self._reload(**{"registry-mirrors": []})

    def _reload(self, **keys: object) -> None:
        path = self.folder / "daemon.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
        seen = self.log.stat().st_size
        os.kill(self._inner(), signal.SIGHUP)
        process.until(
            lambda: _RELOADED in self.log.read_bytes()[seen:] or None, self._process, self.log
        )

    def docker(
        self,
        *argv: str | Path,
        config: Path | None = None,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker client inside the namespace; with `config` as its DOCKER_CONFIG."""
        env = self.env | ({"DOCKER_CONFIG": str(config)} if config else {})
        done = subprocess.run(
            [*self.namespace.prefix, "docker", *map(str, argv)],
            check=False,
            env=env,
            input=stdin,
            capture_output=True,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        if check and done.returncode:
            words = " ".join(map(str, argv))
            raise AssertionError(f"docker {words}: exit {done.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def docker_config(bed: Shelf, folder: Path, buildx: Buildx = "newest") -> Path:
    """Make a DOCKER_CONFIG folder whose `docker buildx` is this one, and return it."""
    plugins = folder / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (plugins / "docker-buildx").symlink_to(bed.part(f"buildx/{buildx}") / "docker-buildx")
    return folder


def _flags(engine: Engine, store: Store, folder: Path) -> tuple[str, ...]:
    """Return dockerd's options: nothing shared with another daemon or with the host."""
    config: dict[str, object] = {}
    if engine != "20.10":
        config["features"] = {"containerd-snapshotter": store == "containerd"}
    if engine == "newest":
        # Its runc is built without libseccomp, and would refuse every container otherwise.
        config["seccomp-profile"] = "unconfined"
    (folder / "daemon.json").write_text(json.dumps(config))
    return (
        f"--config-file={folder}/daemon.json",
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/docker.pid",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
    )


def _world(namespace: Namespace, folder: Path, data_size_mb: int | None) -> tuple[str, ...]:
    """Return the arguments that put a program into the namespace and a world of its own."""
    world = (*namespace.prefix, *_OWN_WORLD)
    if data_size_mb is None:
        return world
    mount = f'mount -t tmpfs -o size={data_size_mb}m tmpfs "$0" && exec "$@"'
    return (*world, "sh", "-c", mount, f"{folder}/data")


def _tls_flags(folder: Path) -> tuple[str | Path, ...]:
    """Make the certificates and return dockerd's options for them."""
    client = folder / "client"
    client.mkdir()
    ca = pki.authority(client)
    pki.issue(ca, client)
    server = pki.issue(ca, folder, "server")
    tls = ("--tlscacert", ca.cert, "--tlscert", server.cert, "--tlskey", server.key)
    return ("-H", TLS_HOST, "--tlsverify", *tls)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def _ping(path: Path) -> bool | None:
    """Return True when a daemon answers there, else None."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/_ping")
        with connection.getresponse() as answer:
            return True if answer.status == http.client.OK else None
    except OSError:
        return None
    finally:
        connection.close()
