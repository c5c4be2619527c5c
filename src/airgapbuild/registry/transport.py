"""HTTP as far as registries need it: one request, its redirects, its answer's bytes.

urllib3 is at home here, and its exceptions end here. Nothing here knows what a manifest or a login
is. Redirects are followed by hand, because what goes along with them is a matter of trust: a secret
never leaves the origin that it was meant for.
"""

from __future__ import annotations

import ssl
import threading
import warnings
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import IncompleteRead, RemoteDisconnected
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeGuard

import urllib3
from urllib3 import exceptions

from airgapbuild import __version__
from airgapbuild.errors import PassingError, RegistryError
from airgapbuild.registry.origin import checked_step, joined, origin_of
from airgapbuild.registry.proxies import ProxyPool, proxy_for
from airgapbuild.registry.retries import Retries
from airgapbuild.registry.trust import Trust, distrust, tls_context
from airgapbuild.registry.words import legible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airgapbuild.registry.proxies import Proxy

CHUNK: Final = 512 << 10
"""How much of a body is read at once, in bytes: less costs time, more only memory."""
MAX_REDIRECTS: Final = 5
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LEFTOVER = 64 << 10
_PIECE = 64 << 10
_MANY_HOSTS = 32
_KEPT = 16  # idle connections to one host: a thread's next request finds the one of its last


@dataclass(frozen=True)
class Timeouts:
    """How long is waited, in seconds."""

    connect: float = 10.0
    read: float = 60.0
    """For the next bytes, not for all of them; where bytes are sent, until they are taken."""
    settle: float = 600.0
    """For the answer to what was sent: a registry may copy a whole blob before it gives one."""
    retries: Retries = field(default_factory=Retries)


DEFAULT_TIMEOUTS: Final = Timeouts()


@dataclass(frozen=True)
class Body:
    """What a request brings along."""

    chunks: Callable[[], Iterable[bytes | memoryview]]
    """Gives its bytes, anew for each time that it is sent."""
    size: int
    media_type: str = "application/octet-stream"
    start: int | None = None
    """Where in a blob it begins, if it is a part of one."""

    @classmethod
    def of(cls, raw: bytes, media_type: str) -> Body:
        """A document that is sent as a whole."""
        return cls(lambda: [raw], len(raw), media_type)

    @property
    def headers(self) -> dict[str, str]:
        """What the request's head says of it."""
        said = {"Content-Type": self.media_type, "Content-Length": str(self.size)}
        if self.start is None:
            return said
        return {**said, "Content-Range": f"{self.start}-{self.start + self.size - 1}"}

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes in pieces so small that a slow link takes each in time."""
        for chunk in self.chunks():
            view = memoryview(chunk)
            for at in range(0, len(view), _PIECE):
                yield view[at : at + _PIECE]


@dataclass(frozen=True)
class Request:
    """One request."""

    name: str
    """The registry on whose behalf it is made, as errors and settings name it."""
    url: str
    trust: Trust
    accept: str = "*/*"
    span: tuple[int, int] | None = None
    """The bytes that are wanted, from the first up to, without it, the second; None for all."""
    authorization: str | None = field(default=None, repr=False)
    method: Literal["GET", "HEAD", "POST", "PATCH", "PUT"] = "GET"
    body: Body | None = field(default=None, repr=False)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method in {"GET", "HEAD"}

    @property
    def sends(self) -> bool:
        """Whether it brings content along that the registry keeps."""
        return self.method in {"PATCH", "PUT"}

    @property
    def address(self) -> str:
        """The host that is asked."""
        origin = origin_of(self.url)
        return origin.address if origin else "no host"


class Answer:
    """The head of an answer; its body is still to be read, or to be closed."""

    def __init__(self, request: Request, response: urllib3.BaseHTTPResponse) -> None:
        self.request = request
        """The last one, where there were redirects."""
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes over the wire.

        Raises:
            RegistryError: it breaks off, or nothing comes for too long.
        """
        with closing(self):
            while chunk := self._read(CHUNK):
                yield chunk

    def body(self, limit: int) -> bytes:
        """The body, up to `limit` bytes of it.

        Raises:
            RegistryError: it breaks off, or nothing comes for too long.
        """
        parts = []
        with closing(self):
            while limit and (part := self._read(limit)):
                parts.append(part)
                limit -= len(part)
        return b"".join(parts)

    def discard(self) -> None:
        """Reads a short rest of the body, so that the connection can serve the next request."""
        with suppress(RegistryError):
            self.body(_LEFTOVER)

    def close(self) -> None:
        """Drops what was not read, and the connection with it."""
        self._response.close()

    def _read(self, size: int) -> bytes:
        with translated(self.request):
            return self._response.read(size, decode_content=False)


class Transport:
    """Connections to registries, kept for the next request. Safe to use from many threads."""

    def __init__(
        self,
        *,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        environ: Mapping[str, str] = NOTHING,
    ) -> None:
        self._timeout = urllib3.Timeout(connect=timeouts.connect, read=timeouts.read)
        # What is the time for a connection to urllib3 is that for each piece that is sent, too.
        self._sending = urllib3.Timeout(connect=timeouts.read, read=timeouts.settle)
        self._environ = environ
        self._pools: dict[tuple[Trust, Proxy | None], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(self, request: Request) -> Answer:
        """The answer to a request, whatever its status, once no redirect is left to follow.

        Raises:
            RegistryError: there is none: the host is unknown, refuses, is silent or not trusted, or
                a redirect leads where it must not.
        """
        answer = self._ask(request)
        for _ in range(MAX_REDIRECTS):
            if answer.status not in _REDIRECTS or not request.reads:
                return answer
            answer = self._ask(_redirected(answer))
        answer.close()
        message = f"registry {request.name}: more than {MAX_REDIRECTS} redirects"
        raise RegistryError(message, status=answer.status)

    def close(self) -> None:
        """Closes the idle connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def _ask(self, request: Request) -> Answer:
        """One hop. Nothing is tried again here: see `retries`."""
        with translated(request):
            timeout = self._sending if request.sends else self._timeout
            return _once(self._pool(request), request, timeout)

    def _pool(self, request: Request) -> urllib3.PoolManager:
        origin = origin_of(request.url)
        proxy = proxy_for(*origin, self._environ) if origin else None
        key = (request.trust, proxy)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _new_pool(request.trust, proxy)
            return self._pools[key]


def _once(pool: urllib3.PoolManager, request: Request, timeout: urllib3.Timeout) -> Answer:
    headers = {
        "User-Agent": f"airgapbuild/{__version__}",
        "Accept": request.accept,
        "Accept-Encoding": "identity",
    }
    if request.span:
        start, stop = request.span
        headers["Range"] = f"bytes={start}-{stop - 1}"
    if request.authorization:
        headers["Authorization"] = request.authorization
    if request.body:
        headers |= request.body.headers
    response = pool.urlopen(
        request.method,
        request.url,
        body=request.body.pieces() if request.body else None,
        headers=headers,
        timeout=timeout,
        redirect=False,
        retries=False,
        preload_content=False,
        decode_content=False,
    )
    return Answer(request, response)


def _redirected(answer: Answer) -> Request:
    """The next request. Once its secrets are dropped they stay so, even on the way back."""
    answer.discard()
    request = answer.request
    target = joined(request.url, answer.headers.get("Location", ""))
    end = checked_step(request.name, request.url, target, answer.status)
    if end == origin_of(request.url):
        return replace(request, url=target)
    return replace(request, url=target, authorization=None, trust=request.trust.for_others)


def _new_pool(trust: Trust, proxy: Proxy | None) -> urllib3.PoolManager:
    if trust.insecure:
        # The user has asked for it; urllib3 would say so on stderr for each request.
        warnings.simplefilter("ignore", exceptions.InsecureRequestWarning)
    context = tls_context(trust)
    if proxy is None:
        return urllib3.PoolManager(_MANY_HOSTS, maxsize=_KEPT, ssl_context=context)
    return ProxyPool(proxy, _MANY_HOSTS, maxsize=_KEPT, ssl_context=context)


@contextmanager
def translated(request: Request) -> Iterator[None]:
    """What urllib3 raises, as a `RegistryError` in words of ours: its own hold whole URLs."""
    try:
        yield
    except (exceptions.HTTPError, exceptions.ProxySchemeUnsupported) as error:
        why, hint = _explained(error, request.name)
        # Named where it is not the registry itself: a redirect's target, a token server.
        place = f"{request.address}: " if request.address != request.name else ""
        message = f"registry {request.name}: {place}{legible(why)}"
        kind = PassingError if _may_pass(error) else RegistryError
        raise kind(message, hint=hint) from error


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may go well in a moment."""
    links = _links(error)
    if isinstance(error, exceptions.ProxyError):
        return any(_may_pass(link) for link in links[1:])
    if any(isinstance(link, exceptions.NameResolutionError) for link in links):
        return False
    return any(isinstance(link, _PASSING) for link in links)


def _explained(error: BaseException, name: str) -> tuple[str, str | None]:
    """What a failure means and what to do about it."""
    links = _links(error)
    if isinstance(error, exceptions.ProxyError):
        why, _ = _explained(next(iter(links[1:]), OSError("no answer")), name)
        return f"the proxy: {why}", _SEE_PROXIES
    if isinstance(error, exceptions.SSLError):
        return distrust(next(iter(links[1:]), error), name)
    for kind, why, hint in _MEANINGS:
        if any(isinstance(link, kind) for link in links):
            return why, hint
    for link in links:
        if isinstance(link, OSError):
            return (link.strerror or str(link)).lower(), None
    return f"its answer is no proper HTTP ({type(error).__name__})", None


def _links(error: BaseException) -> tuple[BaseException, ...]:
    """A failure, then what it comes from."""
    return tuple(filter(_is_error, (error, *error.args, error.__cause__)))


_SEE_PROXIES = "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY"


def _is_error(value: object) -> TypeGuard[BaseException]:
    return isinstance(value, BaseException)


_PASSING: Final = (
    exceptions.NewConnectionError,
    exceptions.ProtocolError,
    exceptions.TimeoutError,
    ssl.SSLEOFError,
    ConnectionError,
)
_MEANINGS: Final[tuple[tuple[type[BaseException], str, str | None], ...]] = (
    (exceptions.NameResolutionError, "unknown host", "check its name and this machine's DNS"),
    (exceptions.ReadTimeoutError, "it fell silent: no byte came in time", None),
    (TimeoutError, "no connection in time", "a firewall may drop packets; is a proxy needed?"),
    (RemoteDisconnected, "it closed the connection without an answer", None),
    (IncompleteRead, "the connection broke off in the middle of an answer", None),
    (exceptions.ProxySchemeUnknown, "the proxy's address is no http or https URL", _SEE_PROXIES),
    (exceptions.LocationValueError, "it is asked by what is no URL", None),
)
"""The first that fits a failure or its cause; what fits none speaks for itself."""
