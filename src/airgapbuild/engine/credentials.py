"""Logins for registries, as `docker login` left them.

Source: docker/cli cli/config/configfile; docker-credential-helpers. The SDK's reader understands
`auths`, `credsStore`, `credHelpers` and identity tokens.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from airgapbuild.engine.endpoint import docker_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker.auth import AuthConfig


class Login(NamedTuple):
    """A user name with a password, or with an identity token in its place."""

    username: str
    password: str
    identity_token: str | None = None

    def __repr__(self) -> str:
        """Without a secret: it may end up in a traceback."""
        return f"Login(username={self.username!r}, …)"


def docker_credentials(
    environ: Mapping[str, str], warn: Callable[[str], None]
) -> Callable[[str], Login | None]:
    """A function from a registry's host to the login that docker would use for it.

    Config and helpers are read when they are first needed. What is broken is told to `warn`, once,
    and the registry is asked anonymously.
    """
    known: dict[str, Login | None] = {}
    config: list[AuthConfig | None] = []

    def login(registry: str) -> Login | None:
        if not config:
            config.append(_read(environ, warn))
        if registry not in known:
            known[registry] = _resolve(config[0], registry, warn) if config[0] else None
        return known[registry]

    return login


def _read(environ: Mapping[str, str], warn: Callable[[str], None]) -> AuthConfig | None:
    from docker import auth, errors  # noqa: PLC0415 - costs 0.1 s, and mostly nobody asks

    path = docker_folder(environ) / "config.json"
    try:
        document = json.loads(path.read_bytes())
        if not document:
            return None
        return auth.load_config(config_dict=document, credstore_env=dict(environ))
    except FileNotFoundError:
        return None
    except OSError as error:
        warn(f"{path}: {error.strerror}: registries are asked without a login")
    except (ValueError, TypeError, AttributeError, errors.DockerException) as error:
        warn(f"{path}: not a docker config: {error}: registries are asked without a login")
    return None


def _resolve(config: AuthConfig, registry: str, warn: Callable[[str], None]) -> Login | None:
    try:
        with warnings.catch_warnings():
            # A missing helper is warned of and then raised for; once is enough.
            warnings.simplefilter("ignore")
            found = config.resolve_authconfig(registry)
    except Exception as error:  # noqa: BLE001 - a helper is any program, and may say anything
        warn(f"{registry}: credential helper: {error}: it is asked without a login")
        return None
    return _login(found) if found else None


def _login(found: Mapping[str, Any]) -> Login | None:
    """The SDK's two spellings: of config.json in lower case, of helpers in title case."""
    token = found.get("IdentityToken")
    username = found.get("Username") or found.get("username") or ""
    password = found.get("Password") or found.get("password") or ""
    if token:
        return Login(username or "<token>", "", str(token))
    return Login(str(username), str(password)) if username else None
