"""All the places where a login may be kept, in one order of precedence."""

from __future__ import annotations

import os
import threading
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from airgapbuild.credentials.authfile import AuthFile, parse_auth_file, place_of
from airgapbuild.credentials.credential import Credential
from airgapbuild.credentials.helper import HelperError, ask_helper
from airgapbuild.files import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from airgapbuild.credentials.authfile import Found
    from airgapbuild.progress import Progress

    _Read: TypeAlias = Callable[[], AuthFile | None]

_AUTH_CONFIG = "DOCKER_AUTH_CONFIG"
_AUTH_FILE = "REGISTRY_AUTH_FILE"
_GITLAB = {"CI_REGISTRY": "CI_REGISTRY", "CI_DEPENDENCY_PROXY_SERVER": "CI_DEPENDENCY_PROXY"}
"""The variable that names a registry, and how those of its login begin."""


class Logins:
    """The `Credentials` of this machine and this CI job. Safe to use from many threads.

    In this order, the first that has a login for the repository decides: DOCKER_AUTH_CONFIG,
    REGISTRY_AUTH_FILE, docker's config.json, podman's auth.json in its usual places, and the
    variables of a GitLab job. Files and helpers are asked when they are first needed, helpers once
    a host. What is broken is noted, once, and the next one asked.

    Source: docker/cli cli/config/configfile, `getConfiguredCredentialStore`, and
    docker/cli#6008 (DOCKER_AUTH_CONFIG goes first); containers-auth.json(5); GitLab's "Predefined
    CI/CD variables".
    """

    def __init__(self, environ: Mapping[str, str], docker_folder: Path, progress: Progress) -> None:
        self._environ = environ
        self._progress = progress
        self._sources = tuple(
            (name, cache(partial(self._read, name, read)))
            for name, read in _sources(environ, docker_folder)
        )
        self._ask = cache(self._ask_helper)
        self._find = cache(self._first)
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, host: str, repository: str) -> Credential | None:
        """The login for a repository of a registry; None if there is none."""
        with self._lock:
            return self._find(host, repository)

    def _first(self, host: str, repository: str) -> Credential | None:
        for name, read in self._sources:
            file = read()
            if file and (found := file.find(host, repository, self._ask)):
                self._tell(name, found)
                return found.credential
        return None

    def _tell(self, name: str, found: Found) -> None:
        kept = f"docker-credential-{found.helper}, as {name} says" if found.helper else name
        line = f"{found.place}: login of '{found.credential.username}' from {kept}"
        if line not in self._told:
            self._told.add(line)
            self._progress.detail(line)

    def _read(self, name: str, read: _Read) -> AuthFile | None:
        try:
            return read()
        except OSError as error:
            why = (error.strerror or "cannot be read").lower()
        except ValueError as error:
            why = str(error)
        self._progress.note(f"{name}: {why}; its logins are not used")
        return None

    def _ask_helper(self, helper: str, host: str) -> Credential | None:
        try:
            return ask_helper(helper, host, self._environ)
        except HelperError as error:
            self._progress.note(f"{host}: {error}; its logins are not used")
            return None


def _sources(environ: Mapping[str, str], docker_folder: Path) -> Iterator[tuple[str, _Read]]:
    """Each source's name, and how it is read; None where it is not there."""
    yield _AUTH_CONFIG, partial(_in_variable, environ)
    if named := environ.get(_AUTH_FILE):
        yield f"{_AUTH_FILE} ({named})", partial(_in_file, Path(named))
    for path in (docker_folder / "config.json", *(() if named else _podman_files(environ))):
        yield str(path), partial(_in_file_if_any, path)
    for server, login in _GITLAB.items():
        yield f"{login}_PASSWORD", partial(_in_job, environ, server, login)


def _in_variable(environ: Mapping[str, str]) -> AuthFile | None:
    text = environ.get(_AUTH_CONFIG)
    return parse_auth_file(text) if text else None


def _in_file(path: Path) -> AuthFile:
    return parse_auth_file(path.read_bytes())


def _in_file_if_any(path: Path) -> AuthFile | None:
    try:
        return _in_file(path)
    except FileNotFoundError:
        return None


def _in_job(environ: Mapping[str, str], server: str, login: str) -> AuthFile | None:
    """Source: GitLab documentation, "Predefined CI/CD variables reference"."""
    place = environ.get(server)
    user, password = environ.get(f"{login}_USER"), environ.get(f"{login}_PASSWORD")
    if not (place and user and password):
        return None
    return AuthFile({place_of(place): Credential(user, password)})


def _podman_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where podman keeps logins. Source: containers-auth.json(5)."""
    config = Path(environ.get("XDG_CONFIG_HOME") or home(environ) / ".config")
    folder = environ.get("XDG_RUNTIME_DIR")
    runtime = f"{folder}/containers" if folder else f"/run/containers/{os.getuid()}"
    return Path(runtime, "auth.json"), config / "containers/auth.json"
