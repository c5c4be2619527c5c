"""HTTP to the daemon, by the docker SDK's low-level client; its errors become ours here.

The environment's proxies, netrc and CA variables are not used: they are about the network, and the
docker command line does not read the latter two for its daemon either.
"""

from __future__ import annotations

import json
import re
import socket
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import docker
import requests
from docker.errors import APIError, DockerException, TLSParameterError
from docker.tls import TLSConfig
from requests.exceptions import BaseHTTPError  # type: ignore[attr-defined] # urllib3's root

from airgapbuild.errors import DaemonError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from airgapbuild.engine.endpoint import Endpoint, TlsFiles

OLDEST_API: Final = "1.41"
"""Of Docker Engine 20.10."""

_CHUNK = 1 << 20
_PATIENCE = 60
"""Seconds for an answer. A load is waited for as long as it takes."""
_KNOCK = 10
"""Seconds until somebody must have opened; a firewall that drops packets never does."""

_TLS_EXPECTED = "HTTP request to an HTTPS server"
_TLS_UNEXPECTED = re.compile("WRONG_VERSION_NUMBER|HTTP_REQUEST|wrong version number")


class Connection:
    """Questions to one daemon in one version of its API.

    Every method raises DaemonError where the daemon cannot be reached, says no, or answers
    something that a daemon would not.
    """

    def __init__(self, endpoint: Endpoint, api: str = OLDEST_API) -> None:
        self.endpoint = endpoint
        self._api = api
        with translated(endpoint):
            _knock(endpoint.host)
        self._client = _client(endpoint, api, _PATIENCE)

    def close(self) -> None:
        """Frees the sockets."""
        self._client.close()

    def version(self) -> dict[str, Any]:
        """The answer of /version, whatever API the daemon speaks."""
        found = self._get(f"{self._client.base_url}/version")
        if found is None:
            raise _no_daemon(self.endpoint, "it has no /version")
        return cast("dict[str, Any]", found)

    def info(self) -> dict[str, Any]:
        """The answer of /info."""
        return cast("dict[str, Any]", self._get(self._url("/info")))

    def images(self) -> dict[str, list[str]]:
        """The IDs of all images, untagged ones too, with the names of each."""
        listed = self._get(self._url("/images/json"), all=1) or ()
        images: dict[str, list[str]] = {}
        for image in listed:
            images.setdefault(str(image["Id"]), []).extend(image.get("RepoTags") or ())
        return images

    def image(self, name: str, **params: int) -> dict[str, Any] | None:
        """An image by name or ID, None where it is not held."""
        url = self._url(f"/images/{quote(name, safe='/:@')}/json")
        return cast("dict[str, Any] | None", self._get(url, **params))

    def remove_image(self, name: str) -> bool:
        """Takes a name away, and with the last one the image; False where a container uses it."""
        with translated(self.endpoint):
            url = self._url(f"/images/{quote(name, safe='/:@')}")
            response = self._client.delete(url, params={"noprune": "1"}, timeout=_PATIENCE)
            if response.status_code != requests.codes.not_found:
                if response.status_code == requests.codes.conflict:
                    return False
                self._check(response)
            return True

    def containers(self) -> list[dict[str, Any]]:
        """All containers, those that have ended too."""
        return cast("list[dict[str, Any]]", self._get(self._url("/containers/json"), all=1) or [])

    def container(self, name: str) -> dict[str, Any] | None:
        """A container by name or ID, None where there is none."""
        url = self._url(f"/containers/{quote(name)}/json")
        return cast("dict[str, Any] | None", self._get(url))

    def container_has(self, name: str, path: str) -> bool:
        """Whether a file is in a container."""
        with translated(self.endpoint):
            url = self._url(f"/containers/{quote(name)}/archive")
            response = self._client.head(url, params={"path": path}, timeout=_PATIENCE)
            if response.status_code == requests.codes.not_found:
                return False
            self._check(response)
            return True

    def remove_container(self, name: str) -> None:
        """Stops and removes a container if it is there; its volumes stay.

        Where somebody else is removing it, that is waited for.
        """
        with translated(self.endpoint):
            url = self._url(f"/containers/{quote(name)}")
            response = self._client.delete(url, params={"force": "1"}, timeout=_PATIENCE)
            if response.status_code == requests.codes.conflict:
                until = {"condition": "removed"}
                response = self._client.post(f"{url}/wait", params=until, timeout=_PATIENCE)
            if response.status_code != requests.codes.not_found:
                self._check(response)

    def run_privileged(self, image: str, arguments: Sequence[str]) -> tuple[str, str]:
        """Runs an image to its end with all privileges and no network; its stdout and stderr."""
        with translated(self.endpoint):
            client = self._client
            settings = client.create_host_config(privileged=True, network_mode="none")
            made = client.create_container(image, list(arguments), host_config=settings)["Id"]
            try:
                client.start(made)
                client.wait(made, timeout=_PATIENCE)
                out, err = (
                    client.logs(made, stdout=is_out, stderr=not is_out) for is_out in (True, False)
                )
                return out.decode(errors="replace"), err.decode(errors="replace")
            finally:
                self.remove_container(made)

    def remove_volume(self, name: str) -> bool:
        """Removes a volume; whether it was there."""
        with translated(self.endpoint):
            url = self._url(f"/volumes/{quote(name)}")
            response = self._client.delete(url, timeout=_PATIENCE)
            if response.status_code == requests.codes.not_found:
                return False
            self._check(response)
            return True

    def load(self, chunks: Iterable[bytes]) -> Generator[dict[str, Any]]:
        """Sends an image archive, then gives the daemon's lines as they come.

        The connection is one of its own: a timeout that a pooled socket has from an earlier
        question would strike while a busy daemon does not read.
        """
        client = _client(self.endpoint, self._api, None)
        with client, translated(self.endpoint):
            response = client.post(
                self._url("/images/load"),
                data=chunks,
                params={"quiet": "0"},
                headers={"Content-Type": "application/x-tar"},
                stream=True,
            )
            self._check(response)
            for line in response.iter_lines():
                if line.strip():
                    yield json.loads(line)

    def save(self, name: str) -> Generator[bytes]:
        """The archive of an image, in chunks, as `docker save` writes it."""
        client = _client(self.endpoint, self._api, None)
        url = self._url(f"/images/{quote(name, safe='/:@')}/get")
        with client, translated(self.endpoint), client.get(url, stream=True) as response:
            self._check(response)
            yield from response.iter_content(_CHUNK)

    def _url(self, path: str) -> str:
        return f"{self._client.base_url}/v{self._api}{path}"

    def _get(self, url: str, **params: int) -> Any:  # noqa: ANN401 - any JSON
        """The answer, None where it is that there is no such thing."""
        with translated(self.endpoint):
            response = self._client.get(url, params=params, timeout=(_KNOCK, _PATIENCE))
            if response.status_code == requests.codes.not_found:
                return None
            self._check(response)
            return response.json()

    def _check(self, response: requests.Response) -> None:
        if response.ok:
            return
        try:
            words = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            words = response.text.strip() or f"{response.status_code} {response.reason}"
        hint = None
        if _TLS_EXPECTED in words:
            hint = "it wants TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
        raise DaemonError(f"{_place(self.endpoint)}: {words}", hint=hint)


@contextmanager
def translated(endpoint: Endpoint) -> Iterator[None]:
    """The one place where errors of docker, requests and the socket become ours.

    Raises:
        DaemonError: in their place, with what to do.
    """
    try:
        yield
    except (requests.exceptions.SSLError, TLSParameterError) as error:
        raise _tls_failure(endpoint, error) from error
    except requests.exceptions.Timeout as error:
        message = f"{_place(endpoint)} does not answer"
        raise DaemonError(message, hint=_is_it_running(endpoint)) from error
    except ValueError as error:
        raise _no_daemon(endpoint, str(error)) from error
    except APIError as error:
        raise DaemonError(f"{_place(endpoint)}: {error.explanation or error}") from error
    except OSError as error:  # requests.RequestException is one
        raise _unreachable(endpoint, error) from error
    except (DockerException, BaseHTTPError) as error:
        hint = "pip install 'docker[ssh]'" if "paramiko" in str(error) else None
        raise DaemonError(f"{_place(endpoint)}: {error}", hint=hint) from error


def _knock(host: str) -> None:
    """Returns if somebody listens. The SDK leaks a socket for each that nobody listens on."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_KNOCK)
            probe.connect(host.removeprefix("unix://"))


def _client(endpoint: Endpoint, api: str, timeout: int | None) -> docker.APIClient:
    with translated(endpoint):
        client = docker.APIClient(
            base_url=endpoint.host,
            version=api,
            timeout=cast("int", timeout),  # None is fine with requests, whatever the stubs say
            tls=_tls_config(endpoint.tls) if endpoint.tls else False,
            use_ssh_client=True,  # it reads ~/.ssh/config, paramiko does not
        )
        client.trust_env = False
        return client


def _tls_config(files: TlsFiles) -> TLSConfig:
    if not files.verify:
        # Asked for by DOCKER_TLS without DOCKER_TLS_VERIFY; urllib3 would warn at each request.
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    pair = (str(files.cert), str(files.key)) if files.cert and files.key else None
    return TLSConfig(pair, str(files.ca) if files.ca else None, verify=files.verify)


def _place(endpoint: Endpoint) -> str:
    return f"the Docker daemon at {endpoint.host} (from {endpoint.origin})"


def _is_it_running(endpoint: Endpoint) -> str:
    return (
        f"is it running? {endpoint.origin} names this address; "
        "--host, DOCKER_HOST or `docker context use` name another"
    )


def _no_daemon(endpoint: Endpoint, why: str) -> DaemonError:
    message = f"{_place(endpoint)} does not answer like a Docker daemon: {why}"
    return DaemonError(message, hint=_is_it_running(endpoint))


def _tls_failure(endpoint: Endpoint, error: Exception) -> DaemonError:
    if _TLS_UNEXPECTED.search(str(error)):
        hint = "it does not speak TLS: unset DOCKER_TLS and DOCKER_TLS_VERIFY, or use another port"
    else:
        hint = f"TLS files: {_described(endpoint.tls)}"
    return DaemonError(f"{_place(endpoint)}: TLS: {_deepest(error)}", hint=hint)


def _described(files: TlsFiles | None) -> str:
    if files is None:
        return "none, though the daemon wants them"
    named = {"CA": files.ca, "certificate": files.cert, "key": files.key}
    return ", ".join(f"{name} {path or 'none'}" for name, path in named.items())


def _unreachable(endpoint: Endpoint, error: OSError) -> DaemonError:
    place = _place(endpoint)
    match _deepest(error):
        case PermissionError() if endpoint.host.startswith("unix:"):
            hint = "join the docker group (usermod -aG docker $USER, then log in again) or use sudo"
            return DaemonError(f"{place}: permission denied", hint=hint)
        case socket.gaierror():
            hint = f"check the name in {endpoint.origin}, and this machine's DNS"
            return DaemonError(f"{place}: unknown host", hint=hint)
        case FileNotFoundError() | ConnectionRefusedError() as cause:
            return DaemonError(f"{place}: {cause.strerror}", hint=_is_it_running(endpoint))
        case BrokenPipeError() | ConnectionResetError() as cause:
            message = f"{place} broke the connection: {cause.strerror or cause}"
            return DaemonError(message, hint="the daemon's own log says why")
        case cause if endpoint.tls and not isinstance(error, requests.RequestException):
            # A certificate that is not there, or cannot be read: a plain OSError.
            return DaemonError(f"{place}: {cause}", hint=f"TLS files: {_described(endpoint.tls)}")
        case cause:
            return DaemonError(f"{place}: {cause}", hint=_is_it_running(endpoint))


def _deepest(error: BaseException) -> BaseException:
    """The first cause of all: urllib3 and requests wrap it several times."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
