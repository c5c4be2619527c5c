"""A registry, or its mirrors, as a `Source`.

Source: OCI distribution specification v1.1, "Pull" and "Content Discovery".
"""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from airgapbuild.errors import IntegrityError, PassingError, RangeIgnored, RegistryError
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT,
    OCI_INDEX,
    content,
    parse_referrers,
)
from airgapbuild.oci.digest import verified
from airgapbuild.oci.referrers import fallback_tag
from airgapbuild.progress import SILENT
from airgapbuild.registry.auth import Authenticator
from airgapbuild.registry.hosts import hosts_for, key_for
from airgapbuild.registry.listing import MAX_PAGE, MAX_PAGES, next_query, tags_of
from airgapbuild.registry.retries import Attempts
from airgapbuild.registry.transfer import Transfer
from airgapbuild.registry.transport import DEFAULT_TIMEOUTS, NOTHING, Request, Transport
from airgapbuild.registry.trust import Trust
from airgapbuild.registry.words import legible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from airgapbuild.credentials import Credentials
    from airgapbuild.manifest import RegistrySettings
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Progress
    from airgapbuild.registry.hosts import Host
    from airgapbuild.registry.transport import Answer, Timeouts

_T = TypeVar("_T")
_OK, _NOT_FOUND, _SERVER_ERROR = 200, 404, 500
_NO_API: Final = frozenset({400, 401, 403, 404, 405, 406, 501})
"""How registries that gave the image say that they have no Referrers API; by the book it is 404."""
_MAX_REFERRER_PAGES: Final = 16
_ELSEWHERE: Final = frozenset({206, 401, 403, 404, 408, 416, 429})
"""Failures after which the next host may do better; so are all from 500 on, and silence."""
_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES
_ACCEPTED = ", ".join(sorted(_DOCUMENTS))
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


class RegistrySource:
    """Manifests and blobs from registries, by way of their mirrors.

    `settings` are those of the manifest, by host; `credentials` gives the logins; `environ` may
    name proxies. Safe to use from many threads.
    """

    def __init__(
        self,
        settings: Mapping[str, RegistrySettings],
        credentials: Credentials,
        *,
        progress: Progress = SILENT,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        environ: Mapping[str, str] = NOTHING,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._retries = timeouts.retries
        self._spent: set[str] = set()
        self._transport = Transport(timeouts=timeouts, environ=environ)
        self._authenticator = Authenticator(self._transport, credentials)
        self._answered: dict[Reference, str] = {}
        self._said: set[str] = set()
        self._guard = threading.Lock()
        self._without_referrers: set[tuple[str, str]] = set()

    def manifest(self, reference: Reference) -> Content:
        """The manifest or index at this tag or digest; the digest decides where both are given.

        Raises:
            RegistryError: no host gives it, or what it gives is no manifest.
            IntegrityError: what came is not of this digest, or not of the one it came with.

        Source: OCI distribution specification v1.1, "Pulling manifests".
        """
        return self._first(reference, lambda host: self._manifest(host, reference))

    def answered(self, reference: Reference) -> str | None:
        """Host and repository that gave the manifest of this reference; None if none has yet."""
        return self._answered.get(reference)

    def tags(self, reference: Reference) -> tuple[str, ...]:
        """The tags of `reference`'s repository, in the registry's order.

        Of a very long list the rest is left out, with a note.

        Raises:
            RegistryError: no host gives them; many registries and mirrors list none.

        Source: OCI distribution specification v1.1, "Listing Tags".
        """
        return self._first(reference, lambda host: self._tags(host, reference))

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """The chunks of a blob of `reference`'s repository, verified while they are read.

        Nothing is asked before the first chunk is; closing the iterator closes the connection. The
        `urls` of foreign layers are never followed (GHSA-742w-89gc-8m9c).

        Raises:
            RegistryError: no host gives it, or it breaks off and does not go on.
            IntegrityError: the bytes are not those of the descriptor.

        Source: OCI distribution specification v1.1, "Pulling blobs".
        """
        transfer = Transfer(reference, descriptor, 0, descriptor.size)
        with closing(self._transferred(transfer)) as chunks:
            yield from verified(chunks, descriptor.digest, descriptor.size, transfer)

    def part(
        self, reference: Reference, descriptor: Descriptor, start: int, stop: int
    ) -> Iterator[bytes]:
        """The chunks of a blob's bytes from `start` up to, without it, `stop`; not verified.

        Whoever has all parts checks the whole. Nothing is asked before the first chunk is; closing
        the iterator closes the connection.

        Raises:
            RangeIgnored: a host has the blob, but gives it as a whole only.
            RegistryError: no host gives it, or it breaks off and does not go on.
            IntegrityError: there are more bytes, or the blob is of another size.

        Source: RFC 9110, section 14; OCI distribution specification v1.1, "Pulling blobs".
        """
        return self._transferred(Transfer(reference, descriptor, start, stop))

    def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """The manifests that name the one of this digest as their subject.

        A host without the Referrers API is asked for the fallback tag, and not for the API again.

        Raises:
            RegistryError: no host says.
            IntegrityError: what a host says is no list of referrers.

        Source: OCI distribution specification v1.1, "Listing Referrers", "Referrers Tag Schema".
        """
        listed = self._first_or_none(reference, lambda host: self._listed(host, reference, digest))
        return listed or ()

    def find(self, reference: Reference) -> Content | None:
        """As `manifest`, None where a host says that there is no such thing, and no other has it.

        Raises:
            RegistryError, IntegrityError: see `manifest`.
        """
        return self._first_or_none(reference, lambda host: self._manifest(host, reference))

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def _first(self, reference: Reference, ask: Callable[[Host], _T]) -> _T:
        """What the first host gives that has it."""
        failures: list[RegistryError] = []
        for found in self._tried(reference, ask, failures):
            return found
        raise self._none_gave(reference, failures)

    def _first_or_none(self, reference: Reference, ask: Callable[[Host], _T]) -> _T | None:
        """The same; None where nobody has it, though somebody could be asked."""
        failures: list[RegistryError] = []
        for found in self._tried(reference, ask, failures):
            return found
        if any(error.status == _NOT_FOUND for error in failures):
            return None
        raise self._none_gave(reference, failures)

    def _tried(
        self, reference: Reference, ask: Callable[[Host], _T], failures: list[RegistryError]
    ) -> Iterator[_T]:
        """What each host gives, in their order; why others do not goes to `failures`."""
        for host in hosts_for(reference, self._settings):
            with self._passed_over(reference, failures):
                yield self._again(host, reference, ask)

    def _again(self, host: Host, reference: Reference, ask: Callable[[Host], _T]) -> _T:
        """What one host gives, which is asked again where that may help."""
        attempts = Attempts(host.name, self._retries, self._spent, self._progress)
        while True:
            try:
                given = ask(host)
            except PassingError as error:
                attempts.failed(host.shown(reference), error)
            else:
                attempts.advanced()
                return given

    @contextmanager
    def _passed_over(self, reference: Reference, failures: list[RegistryError]) -> Iterator[None]:
        """Adds a host's failure to the others', unless the next host could do no better."""
        try:
            yield
        except RangeIgnored:
            raise
        except RegistryError as error:
            failures.append(error)
            if not _may_be_elsewhere(error):
                raise self._none_gave(reference, failures) from None
            self._progress.detail(error.message)

    def _none_gave(self, reference: Reference, failures: list[RegistryError]) -> RegistryError:
        """One error for all hosts that were asked."""
        hosts = hosts_for(reference, self._settings)
        if not hosts:
            return RegistryError(
                f"registry {reference.registry}: there is no host to ask for {reference.familiar}",
                hint=f'name mirrors in [registries."{key_for(reference, self._settings)}"], '
                "or drop upstream = false",
            )
        if [host.shown(reference) for host in hosts] == [reference.familiar]:
            return failures[0]
        statuses = {error.status for error in failures}
        return RegistryError(
            f"{reference.familiar}: {'; '.join(error.message for error in failures)}",
            hint=next((error.hint for error in reversed(failures) if error.hint), None),
            status=statuses.pop() if len(statuses) == 1 else None,
        )

    def _transferred(self, transfer: Transfer) -> Generator[bytes]:
        """The chunks of a transfer; where one host ends for good, the next goes on."""
        failures: list[RegistryError] = []
        for host in hosts_for(transfer.reference, self._settings):
            with self._passed_over(transfer.reference, failures):
                yield from self._chunks(host, transfer)
                return
        raise self._none_gave(transfer.reference, failures)

    def _chunks(self, host: Host, transfer: Transfer) -> Generator[bytes]:
        """The chunks of a transfer from one host, which is asked again where it breaks off."""
        reference = transfer.reference
        attempts = Attempts(host.name, self._retries, self._spent, self._progress)
        while not transfer.complete:
            try:
                request = replace(_request(host, reference, transfer.path), span=transfer.span)
                with closing(self._get(host, reference, transfer.what, request)) as answer:
                    for chunk in transfer.chunks(answer):
                        attempts.advanced()
                        yield chunk
            except PassingError as error:
                if not transfer.complete:
                    attempts.failed(transfer.rest, error)

    def _listed(self, host: Host, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        key = (host.name, host.path_of(reference))
        if key not in self._without_referrers:
            try:
                return self._referrers(host, reference, digest)
            except RegistryError as error:
                if error.status not in _NO_API:
                    raise
                self._without_referrers.add(key)
        tagged = reference.with_tag(fallback_tag(digest))
        return parse_referrers(self._manifest(host, tagged), host.shown(tagged))

    def _referrers(
        self, host: Host, reference: Reference, digest: Digest
    ) -> tuple[Descriptor, ...]:
        what = f"referrers of {host.shown(reference.with_digest(digest))}"
        found: dict[Digest, Descriptor] = {}
        query: str | None = ""
        for _ in range(_MAX_REFERRER_PAGES):
            path = f"referrers/{digest}{query and '?'}{query}"
            request = replace(_request(host, reference, path), accept=OCI_INDEX)
            answer = self._get(host, reference, what, request)
            page = content(_body(host, what, answer), OCI_INDEX)
            found |= {entry.digest: entry for entry in parse_referrers(page, what)}
            query = next_query(answer.headers.get("Link", ""))
            if query is None:
                return tuple(found.values())
        raise RegistryError(f"registry {host.name}: {what}: more than {_MAX_REFERRER_PAGES} pages")

    def _manifest(self, host: Host, reference: Reference) -> Content:
        what = host.shown(reference)
        path = f"manifests/{reference.digest or reference.tag}"
        request = replace(_request(host, reference, path), accept=_ACCEPTED)
        answer = self._get(host, reference, what, request)
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
        self._answered[reference] = f"{host.name}/{host.path_of(reference)}"
        return document

    def _tags(self, host: Host, reference: Reference) -> tuple[str, ...]:
        what = f"the tags of {host.name}/{host.path_of(reference)}"
        tags: list[str] = []
        query: str | None = f"n={MAX_PAGE}"
        for _ in range(MAX_PAGES):
            request = _request(host, reference, f"tags/list?{query}")
            answer = self._get(host, reference, what, request)
            tags += tags_of(answer.body(MAX_DOCUMENT), f"registry {host.name}: {what}")
            query = next_query(answer.headers.get("Link", ""))
            if query is None:
                return tuple(tags)
        self._progress.note(f"{what}: only the first {len(tags)} were read")
        return tuple(tags)

    def _get(self, host: Host, reference: Reference, what: str, request: Request) -> Answer:
        self._say_risk(host)
        answer = self._authenticator.get(host, host.path_of(reference), what, request)
        self._progress.detail(f"{what}: from {answer.request.address}")
        return answer

    def _say_risk(self, host: Host) -> None:
        """Notes, once for each host that is really asked, what its settings give up."""
        if host.risk is None:
            return
        with self._guard:
            if host.name in self._said:
                return
            self._said.add(host.name)
        self._progress.note(f"registry {host.name}: {host.risk}")


def _request(host: Host, reference: Reference, path: str) -> Request:
    url = f"{host.base}/{host.path_of(reference)}/{path}"
    return Request(host.name, url, Trust.of(host.settings))


def _body(host: Host, what: str, answer: Answer) -> bytes:
    raw = answer.body(MAX_DOCUMENT + 1)
    if len(raw) > MAX_DOCUMENT:
        message = f"registry {host.name}: {what} is more than {MAX_DOCUMENT >> 20} MiB"
        raise RegistryError(f"{message}, too large for a manifest", status=_OK)
    return raw


def _may_be_elsewhere(error: RegistryError) -> bool:
    status = error.status
    return status is None or status in _ELSEWHERE or status >= _SERVER_ERROR


def _not_a_manifest(host: Host, what: str, media_type: str) -> RegistryError:
    if media_type.startswith(_SCHEMA_1):
        message = f"{what} is an image of the old schema 1, which no engine of today takes"
        hint = "push it anew with any Docker of the last years"
    else:
        message = f"{what} came as '{legible(media_type)}', which is no image"
        hint = f"is {host.name} a registry, and is this an image, not a chart or an artifact?"
    return RegistryError(f"registry {host.name}: {message}", hint=hint, status=_OK)
