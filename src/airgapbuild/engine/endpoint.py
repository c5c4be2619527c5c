"""Which daemon is meant, found as the docker command line finds it.

Source: docker/cli cli/command/cli.go (`resolveContextName`, `resolveDefaultDockerEndpoint`),
cli/flags/options.go (TLS by environment), cli/context/store (contexts on disk), opts/hosts.go
(`ParseHost`).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airgapbuild.errors import DaemonError
from airgapbuild.files import home, is_folder, mode_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CONTEXT: Final = "default"
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_DEFAULT_TLS_HOST = "tcp://localhost:2376"
_DEFAULT_TCP = ("localhost", 2375)
_HOST_FORMS = "write unix:///path, tcp://host:port or ssh://[user@]host"


@dataclass(frozen=True)
class TlsFiles:
    """The PEM files for a TLS connection; whatever is None is not used."""

    ca: Path | None
    cert: Path | None
    key: Path | None
    verify: bool
    """Whether the daemon must prove who it is."""


@dataclass(frozen=True)
class Endpoint:
    """A daemon's address, and who named it."""

    host: str
    """`unix:///var/run/docker.sock`, `tcp://host:port` or `ssh://user@host`."""
    tls: TlsFiles | None
    context: str | None
    """The docker context it comes from; None for an option, the environment and the default."""
    origin: str
    """Who named it, as messages say it: `--host`, `DOCKER_HOST`, `context 'x'`, `the default`."""

    @property
    def buildx_endpoint(self) -> str:
        """How a buildx instance must name it to reach the same daemon later.

        "default" stands for whatever the environment or `docker --host` says then. With TLS by
        environment it is the only form that works: for an URL, buildx has no certificates.

        Source: docker/buildx util/dockerutil/api.go, `NewClientAPI`.
        """
        if self.context:
            return self.context
        return self.host if self._by_option and self.tls is None else DEFAULT_CONTEXT

    @property
    def buildx_key(self) -> str:
        """What buildx keeps the current builder under while this daemon is the current one.

        Source: docker/buildx util/dockerutil/context.go, `GetCurrentEndpoint`.
        """
        return self.context or self.host

    @property
    def docker(self) -> str:
        """The docker command that talks to this daemon later: `docker`, or `docker --host URL`."""
        return f"docker --host {self.host}" if self._by_option else "docker"

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """This environment, with the daemon named in it where only an option did."""
        return {**environ, **({"DOCKER_HOST": self.host} if self._by_option else {})}

    @property
    def _by_option(self) -> bool:
        return self.origin == _OPTION


_OPTION = "--host"


def docker_folder(environ: Mapping[str, str]) -> Path:
    """The folder of docker's config.json: `$DOCKER_CONFIG`, or `~/.docker`."""
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    return home(environ) / ".docker"


def find_endpoint(host: str | None, environ: Mapping[str, str]) -> Endpoint:
    """The daemon that `docker --host HOST` (or plain `docker`) would talk to.

    Raises:
        DaemonError: the address makes no sense, or the context is not there or cannot be read.
    """
    if host:
        return _by_environment(host, _OPTION, environ)
    if host := environ.get("DOCKER_HOST"):
        return _by_environment(host, "DOCKER_HOST", environ)
    folder = docker_folder(environ)
    if name := environ.get("DOCKER_CONTEXT"):
        origin = "DOCKER_CONTEXT"
    else:
        name, origin = _current_context(folder), str(folder / "config.json")
    if name and name != DEFAULT_CONTEXT:
        return _by_context(name, origin, folder)
    return _by_environment("", "the default", environ)


def find_node_endpoint(text: str, environ: Mapping[str, str]) -> Endpoint:
    """The daemon that buildx reaches by a node's endpoint: a docker context's, or the one at a URL.

    Buildx has no TLS files for an URL.

    Raises:
        DaemonError: see `find_endpoint`.
    """
    origin = f"the builder's node at {text}"
    if text == DEFAULT_CONTEXT:
        return find_endpoint(None, environ)
    if "://" in text:
        return Endpoint(_parse_host(text, origin), None, None, origin)
    return _by_context(text, origin, docker_folder(environ))


def _by_environment(host: str, origin: str, environ: Mapping[str, str]) -> Endpoint:
    tls = _tls_by_environment(environ)
    if not host:
        host = _DEFAULT_TLS_HOST if tls else _DEFAULT_HOST
    host = _parse_host(host, origin)
    return Endpoint(host, tls if _over_tcp(host) else None, None, origin)


def _tls_by_environment(environ: Mapping[str, str]) -> TlsFiles | None:
    """Any value but the empty one counts as set, even "0": so it is in docker."""
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    folder = Path(environ.get("DOCKER_CERT_PATH") or docker_folder(environ))
    cert, key = folder / "cert.pem", folder / "key.pem"
    return TlsFiles(
        # A missing CA is an error where it is read; certificate and key are optional.
        ca=folder / "ca.pem",
        cert=cert if mode_of(cert, DaemonError) else None,
        key=key if mode_of(key, DaemonError) else None,
        verify=verify,
    )


def _current_context(folder: Path) -> str | None:
    """What `docker context use` left; a config.json that cannot be read names none."""
    try:
        name = json.loads((folder / "config.json").read_bytes())["currentContext"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def _by_context(name: str, origin: str, folder: Path) -> Endpoint:
    identifier = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts" / "meta" / identifier / "meta.json"
    hint = f"see `docker context ls`, or unset what names it: {origin}"
    try:
        document: Any = json.loads(path.read_bytes())
        docker = document["Endpoints"]["docker"]
        host, verify = docker.get("Host") or _DEFAULT_HOST, not docker.get("SkipTLSVerify", False)
    except FileNotFoundError as error:
        raise DaemonError(f"{origin}: there is no docker context '{name}'", hint=hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{origin}: docker context '{name}' cannot be read: {path}: {error}"
        raise DaemonError(message, hint=hint) from error
    described = f"context '{name}'"
    host = _parse_host(str(host), described)
    files = folder / "contexts" / "tls" / identifier / "docker"
    tls = _tls_of_context(files, verify=verify) if _over_tcp(host) else None
    return Endpoint(host, tls, name, described)


def _tls_of_context(folder: Path, *, verify: bool) -> TlsFiles | None:
    if verify and not is_folder(folder, DaemonError):
        return None
    ca, cert, key = (
        path if mode_of(path := folder / f"{part}.pem", DaemonError) else None
        for part in ("ca", "cert", "key")
    )
    return TlsFiles(ca, cert, key, verify)


def _over_tcp(host: str) -> bool:
    return host.startswith("tcp://")


def _parse_host(text: str, origin: str) -> str:
    """The address in full.

    Raises:
        DaemonError: it is none, or one that cannot be reached from here.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", scheme
    match scheme:
        case "unix":
            return f"unix://{rest}" if rest else _DEFAULT_HOST
        case "ssh" if re.fullmatch(r"[^/?#]+", rest):
            return f"ssh://{rest}"
        case "tcp" if (address := _tcp_address(rest)) is not None:
            return f"tcp://{address}"
    raise DaemonError(f"{origin}: '{text}' is no address of a daemon", hint=_HOST_FORMS)


def _tcp_address(rest: str) -> str | None:
    """`host:port[/path]` with what was left out; None where it is none."""
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or _DEFAULT_TCP[0], parts.port or _DEFAULT_TCP[1]
    except ValueError:
        return None
    if "@" in parts.netloc or parts.query or parts.fragment or "://" in rest:
        return None
    return f"[{host}]:{port}{parts.path}" if ":" in host else f"{host}:{port}{parts.path}"
