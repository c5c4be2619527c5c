"""What one host is asked for, as often as it takes.

`client` reads from several hosts in their order, `upload` writes to one: both ask through this.

Source: OCI distribution specification v1.1, "Pull" and "Content Discovery".
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from airgapbuild.errors import IntegrityError, PassingError, RegistryError
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT,
    OCI_INDEX,
    content,
    parse_referrers,
)
from airgapbuild.oci.referrers import fallback_tag
from airgapbuild.progress import SILENT
from airgapbuild.registry.auth import GIVEN, Authenticator
from airgapbuild.registry.listing import MAX_PAGE, MAX_PAGES, next_query, tags_of
from airgapbuild.registry.retries import Attempts, Memory
from airgapbuild.registry.transport import DEFAULT_TIMEOUTS, NOTHING, Request, Transport
from airgapbuild.registry.trust import Trust
from airgapbuild.registry.words import legible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from airgapbuild.credentials import Credentials
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Progress
    from airgapbuild.registry.hosts import Host
    from airgapbuild.registry.transport import Answer, Timeouts

_T = TypeVar("_T")
_OK = 200
_NO_API: Final = frozenset({400, 401, 403, 404, 405, 406, 501})
"""How registries that gave the image say that they have no Referrers API; by the book it is 404."""
_MAX_REFERRER_PAGES: Final = 16
_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES
ACCEPTED: Final = ", ".join(sorted(_DOCUMENTS))
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


class Remote:
    """Hosts, asked one at a time. Safe to use from many threads."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        progress: Progress = SILENT,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        environ: Mapping[str, str] = NOTHING,
    ) -> None:
        self.progress = progress
        self._retries = timeouts.retries
        self._memory = Memory()
        self._transport = Transport(timeouts=timeouts, environ=environ)
        self._authenticator = Authenticator(self._transport, credentials)
        self._said: set[str] = set()
        self._guard = threading.Lock()
        self._without_referrers: set[tuple[str, str]] = set()

    def attempts(self, host: Host) -> Attempts:
        """The tries of one request or transfer at a host."""
        return Attempts(host.name, self._retries, self._memory, self.progress)

    def again(self, host: Host, reference: Reference, ask: Callable[[Host], _T]) -> _T:
        """What one host gives, which is asked again where that may help.

        Raises:
            RegistryError: it does not give it.
        """
        attempts = self.attempts(host)
        while True:
            try:
                given = ask(host)
            except PassingError as error:
                attempts.failed(host.shown(reference), error)
            else:
                attempts.advanced()
                return given

    def send(
        self,
        host: Host,
        reference: Reference,
        what: str,
        request: Request,
        expected: Collection[int] = GIVEN,
    ) -> Answer:
        """The answer to one request, whose status is one of those expected.

        Raises:
            RegistryError: it is another one, or there is no answer.
        """
        self._say_risk(host)
        path = host.path_of(reference)
        answer = self._authenticator.send(host, path, what, request, expected)
        way = "from" if request.reads else "to"
        self.progress.detail(f"{what}: {way} {answer.request.address}")
        return answer

    def manifest(self, host: Host, reference: Reference) -> Content:
        """The manifest or index at a tag or digest.

        Raises:
            RegistryError: the host does not give it, or what it gives is no manifest.
            IntegrityError: what came is not of this digest, or not of the one it came with.

        Source: OCI distribution specification v1.1, "Pulling manifests".
        """
        what = host.shown(reference)
        path = f"manifests/{reference.digest or reference.tag}"
        request = replace(request_to(host, reference, path), accept=ACCEPTED)
        answer = self.send(host, reference, what, request)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in _DOCUMENTS:
            answer.close()
            raise _not_a_manifest(host, what, media_type)
        document = content(_body(host, what, answer), media_type)
        promised = reference.digest or answer.headers.get("Docker-Content-Digest")
        if promised and promised != document.descriptor.digest:
            got = document.descriptor.digest
            expected = legible(promised)
            raise IntegrityError(f"{what} from {host.name}: expected {expected}, got {got}")
        return document

    def referrers(self, host: Host, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """What a host lists: by the API, or else by the tag, each with tries of its own.

        Raises:
            RegistryError: it does not say; 404 where there is neither API nor tag.
            IntegrityError: what it says is no list of referrers.

        Source: OCI distribution specification v1.1, "Listing Referrers", "Referrers Tag Schema".
        """
        key = (host.name, host.path_of(reference))
        if key not in self._without_referrers:
            try:
                return self.again(host, reference, lambda it: self._listed(it, reference, digest))
            except RegistryError as error:
                if error.status not in _NO_API:
                    raise
                self._without_referrers.add(key)
        tagged = reference.with_tag(fallback_tag(digest))
        listed = self.again(host, tagged, lambda it: self.manifest(it, tagged))
        return parse_referrers(listed, host.shown(tagged))

    def lists_referrers(self, host: Host, reference: Reference) -> bool:
        """Whether a repository has the Referrers API, as far as `referrers` has found out."""
        return (host.name, host.path_of(reference)) not in self._without_referrers

    def tags(self, host: Host, reference: Reference) -> tuple[str, ...]:
        """The tags of a repository, in the registry's order; of a very long list the first.

        Raises:
            RegistryError: the host does not list them.

        Source: OCI distribution specification v1.1, "Listing Tags".
        """
        what = f"the tags of {host.name}/{host.path_of(reference)}"
        tags: list[str] = []
        query: str | None = f"n={MAX_PAGE}"
        for _ in range(MAX_PAGES):
            request = request_to(host, reference, f"tags/list?{query}")
            answer = self.send(host, reference, what, request)
            tags += tags_of(answer.body(MAX_DOCUMENT), f"registry {host.name}: {what}")
            query = next_query(answer.headers.get("Link", ""))
            if query is None:
                return tuple(tags)
        self.progress.note(f"{what}: only the first {len(tags)} were read")
        return tuple(tags)

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def _listed(self, host: Host, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        what = f"referrers of {host.shown(reference.with_digest(digest))}"
        found: dict[Digest, Descriptor] = {}
        query: str | None = ""
        for _ in range(_MAX_REFERRER_PAGES):
            path = f"referrers/{digest}{query and '?'}{query}"
            request = replace(request_to(host, reference, path), accept=OCI_INDEX)
            answer = self.send(host, reference, what, request)
            page = content(_body(host, what, answer), OCI_INDEX)
            found |= {entry.digest: entry for entry in parse_referrers(page, what)}
            query = next_query(answer.headers.get("Link", ""))
            if query is None:
                return tuple(found.values())
        raise RegistryError(f"registry {host.name}: {what}: more than {_MAX_REFERRER_PAGES} pages")

    def _say_risk(self, host: Host) -> None:
        """Notes, once for each host that is really asked, what its settings give up."""
        if host.risk is None:
            return
        with self._guard:
            if host.name in self._said:
                return
            self._said.add(host.name)
        self.progress.note(f"registry {host.name}: {host.risk}")


def request_to(host: Host, reference: Reference, path: str) -> Request:
    """A GET of something below a repository."""
    url = f"{host.base}/{host.path_of(reference)}/{path}"
    return Request(host.name, url, Trust.of(host.settings))


def _body(host: Host, what: str, answer: Answer) -> bytes:
    raw = answer.body(MAX_DOCUMENT + 1)
    if len(raw) > MAX_DOCUMENT:
        message = f"registry {host.name}: {what} is more than {MAX_DOCUMENT >> 20} MiB"
        raise RegistryError(f"{message}, too large for a manifest", status=_OK)
    return raw


def _not_a_manifest(host: Host, what: str, media_type: str) -> RegistryError:
    if media_type.startswith(_SCHEMA_1):
        message = f"{what} is an image of the old schema 1, which no engine of today takes"
        hint = "push it anew with any Docker of the last years"
    else:
        message = f"{what} came as '{legible(media_type)}', which is no image"
        hint = f"is {host.name} a registry, and is this an image, not a chart or an artifact?"
    return RegistryError(f"registry {host.name}: {message}", hint=hint, status=_OK)
