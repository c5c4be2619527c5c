"""Registries that serve the bed's images on the loopback: plain, with passwords, TLS or tokens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.engines import layout, pki, process, token_server

if TYPE_CHECKING:
    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

User = tuple[str, str]
"""A name and a password."""

Auth = Literal["none", "htpasswd", "token"]

USER: User = ("alice", "correct horse")

_SERVICE = "test-bed"
_ROOT = "docker/registry/v2"
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
_ENV = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}


def images(bed: Shelf) -> dict[str, layout.Image]:
    """Return what every registry here serves, by names such as `moby/buildkit:v0.34.2`."""
    found = json.loads((bed.part("images/all") / "images.json").read_bytes())
    return {ref: _image(**entry) for ref, entry in found.items()}


def _image(*, platforms: dict[str, dict[str, str]], **rest: str) -> layout.Image:
    images = {name: layout.PlatformImage(**entry) for name, entry in platforms.items()}
    return layout.Image(platforms=images, **rest)


@dataclass
class Registry(process.Service):
    """A running registry, as a context manager that stops it."""

    address: str
    """Where it listens, such as `127.0.0.1:41234`."""
    ca: Path | None
    """The authority that signed its certificate, where it has one."""
    client: pki.Pair | None
    """The certificate that it wants to see, where it wants one."""
    folder: Path
    _processes: list[subprocess.Popen[bytes]] = field(repr=False)

    @property
    def log(self) -> Path:
        """The registry's own output: one line for each request, at its end."""
        return self.folder / "registry.log"

    @property
    def storage(self) -> Path:
        """What it serves; private to this registry only where it is writable."""
        return self.folder / "storage"

    @classmethod
    def start(
        cls,
        bed: Shelf,
        *,
        namespace: Namespace | None = None,
        auth: Auth = "none",
        user: User = USER,
        tls: bool = False,
        mutual: bool = False,
        writable: bool = False,
        empty: bool = False,
        path: str = "",
        proxy_of: Registry | None = None,
        port: int = 0,
        newest: bool = False,
        lenient: bool = False,
    ) -> Self:
        """Start a registry on a port, by default a free one, and return when it listens.

        With `htpasswd` everything needs the user; with `token` pulls are free and pushes need the
        user. A `mutual` one has TLS and wants a certificate of its clients. Only a `writable` one
        takes pushes; with `empty` there is nothing in it at first. With a `path` all repositories
        lie below it. One that is a `proxy_of` another has what that has, and keeps what it was
        asked for. The `newest` is distribution 3, any other 2.8; a `lenient` one of that takes
        an index some of whose manifests it lacks.
        """
        binary = bed.part("distribution" if newest else "registry") / "docker-registry"
        served = bed.part("images/all") / "storage"
        folder = Path(tempfile.mkdtemp(prefix="bed-registry-"))
        prefix: tuple[str, ...] = namespace.prefix if namespace else ()
        registry = cls("", None, None, folder, [])
        try:
            own = writable or proxy_of is not None
            registry._fill(
                served, writable=writable, empty=empty or proxy_of is not None, path=path
            )
            config = registry._config(writable=own, tls=tls or mutual, mutual=mutual)
            config["http"]["addr"] = f"127.0.0.1:{port}"
            if lenient:
                config["validation"] = {"manifests": {"indexes": {"platforms": "none"}}}
            if proxy_of:
                config["proxy"] = {"remoteurl": f"http://{proxy_of.address}"}
            config["auth"] = registry._auth(auth, user, prefix)
            (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML too
            served_by: tuple[str | Path, ...] = (binary, "serve", folder / "config.yml")
            registry.address = registry._serve((*prefix, *served_by), registry.log)
        except BaseException:
            registry.stop()
            raise
        return registry

    @classmethod
    def with_referrers(cls, bed: Shelf) -> Self:
        """Start a registry that has the Referrers API: empty, writable, in memory."""
        binary = bed.part("referrers") / "registry"
        registry = cls("", None, None, Path(tempfile.mkdtemp(prefix="bed-registry-")), [])
        try:
            registry.address = registry._serve((binary,), registry.log)
        except BaseException:
            registry.stop()
            raise
        return registry

    def stop(self) -> None:
        """End the registry and remove its files; a second time does nothing."""
        for running in self._processes:
            process.stop(running)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serve(self, argv: tuple[str | Path, ...], log: Path) -> str:
        """Start a server and return the address that it says it listens on."""
        log.touch()
        running = process.start(argv, log, _ENV)
        self._processes.append(running)
        found = process.until(lambda: _LISTENING.search(log.read_text()), running, log)
        return f"127.0.0.1:{found[1]}"

    def _fill(self, served: Path, *, writable: bool, empty: bool, path: str) -> None:
        if empty:
            self.storage.mkdir()
        elif path:
            base, root = self.storage / _ROOT, served / _ROOT
            (below := base / "repositories" / path).parent.mkdir(parents=True)
            below.symlink_to(root / "repositories")
            (base / "blobs").symlink_to(root / "blobs")
        elif writable:
            shutil.copytree(served, self.storage, copy_function=_copy)
        else:
            self.storage.symlink_to(served)

    def _config(self, *, writable: bool, tls: bool, mutual: bool) -> dict[str, Any]:
        http: dict[str, Any] = {"secret": "for one process only"}
        if tls:
            ca = pki.authority(self.folder)
            server = pki.issue(ca, self.folder)
            http["tls"] = {"certificate": str(server.cert), "key": str(server.key)}
            self.ca = ca.cert
            if mutual:
                http["tls"]["clientcas"] = [str(ca.cert)]
                self.client = pki.issue(ca, self.folder, "client")
        maintenance = {"uploadpurging": {"enabled": False}, "readonly": {"enabled": not writable}}
        storage = {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}}
        return {
            "version": 0.1,
            "log": {"accesslog": {"disabled": False}, "level": "info"},
            "storage": {**storage, "maintenance": maintenance},
            "http": http,
        }

    def _auth(self, auth: Auth, user: User, prefix: tuple[str, ...]) -> dict[str, Any]:
        match auth:
            case "none":
                return {}
            case "htpasswd":
                file = self.folder / "htpasswd"
                file.write_text(f"{user[0]}:{_bcrypt(user[1])}\n")
                return {"htpasswd": {"realm": _SERVICE, "path": str(file)}}
            case "token":
                pair = pki.authority(self.folder, "token", "rsa")
                server = (sys.executable, token_server.__file__, pair.cert, pair.key, _SERVICE)
                address = self._serve((*prefix, *server, *user), self.folder / "token.log")
                return {
                    "token": {
                        "realm": f"http://{address}/token",
                        "service": _SERVICE,
                        "issuer": token_server.ISSUER,
                        "rootcertbundle": str(pair.cert),
                    }
                }


def _copy(source: str, target: str) -> None:
    """Link a blob, which is replaced whole, but copy a tag's link, which is written in place."""
    if Path(source).name == "data":
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def _bcrypt(password: str) -> str:
    """Hash a password in the one way that the registry knows, with the C library's crypt."""
    argv = ("perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, "$2b$04$" + "x" * 21 + "u")
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
