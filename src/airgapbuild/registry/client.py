"""A registry, or its mirrors, as a `Source`.

Source: OCI distribution specification v1.1, "Pull".
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from airgapbuild.errors import IntegrityError, RegistryError
from airgapbuild.oci.content import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT,
    OCI_INDEX,
    content,
    parse_referrers,
)
from airgapbuild.oci.digest import short, verified
from airgapbuild.oci.referrers import fallback_tag
from airgapbuild.progress import SILENT
from airgapbuild.registry.auth import Authenticator
from airgapbuild.registry.hosts import hosts_for
from airgapbuild.registry.transport import DEFAULT_TIMEOUTS, NOTHING, Request, Transport
from airgapbuild.registry.trust import Trust
from airgapbuild.registry.words import legible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airgapbuild.manifest import RegistrySettings
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Progress
    from airgapbuild.registry.auth import Credentials
    from airgapbuild.registry.hosts import Host
    from airgapbuild.registry.transport import Answer, Timeouts

_T = TypeVar("_T")
_OK, _NOT_FOUND, _SERVER_ERROR = 200, 404, 500
_NO_API: Final = frozenset({400, 401, 403, 404, 405, 406, 501})
"""How registries that gave the image say that they have no Referrers API; by the book it is 404."""
_MAX_PAGES: Final = 16
_NEXT_PAGE: Final = re.compile(r"""<[^<>?]*(\?[^<>#]*)>\s*;\s*rel="?next"?""")
_ELSEWHERE: Final = frozenset({401, 403, 404, 429})
"""Answers after which the next host may still have it; so are all from 500 on, and silence."""
_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


class RegistrySource:
    """Manifests and blobs from registries, by way of their mirrors.

    `settings` are those of the manifest, by host; `credentials` gives a login by host; `environ`
    may name proxies. Safe to use from many threads.
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
        self._transport = Transport(timeouts=timeouts, environ=environ)
        self._authenticator = Authenticator(self._transport, credentials)
        self._without_referrers: set[tuple[str, str]] = set()

    def manifest(self, reference: Reference) -> Content:
        """The manifest or index at this tag or digest; the digest decides where both are given.

        Raises:
            RegistryError: no host gives it, or what it gives is no manifest.
            IntegrityError: what came is not of this digest, or not of the one it came with.

        Source: OCI distribution specification v1.1, "Pulling manifests".
        """
        return self._first(reference, lambda host: self._manifest(host, reference))

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """The chunks of a blob of `reference`'s repository, verified while they are read.

        Nothing is asked before the first chunk is; closing the iterator closes the connection. The
        `urls` of foreign layers are never followed (GHSA-742w-89gc-8m9c).

        Raises:
            RegistryError: no host gives it, or it breaks off.
            IntegrityError: the bytes are not those of the descriptor.

        Source: OCI distribution specification v1.1, "Pulling blobs".
        """
        what = f"blob {short(descriptor.digest)} of {reference.familiar}"
        path = f"blobs/{descriptor.digest}"
        answer = self._first(reference, lambda host: self._get(host, reference, path, what))
        place = f"{what} from {answer.request.address}"
        with closing(answer):
            yield from verified(answer.chunks(), descriptor.digest, descriptor.size, place)

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
        raise _all_failed(reference, failures)

    def _first_or_none(self, reference: Reference, ask: Callable[[Host], _T]) -> _T | None:
        """The same; None where nobody has it, though somebody could be asked."""
        failures: list[RegistryError] = []
        for found in self._tried(reference, ask, failures):
            return found
        if any(error.status == _NOT_FOUND for error in failures):
            return None
        raise _all_failed(reference, failures)

    def _tried(
        self, reference: Reference, ask: Callable[[Host], _T], failures: list[RegistryError]
    ) -> Iterator[_T]:
        """What each host gives, in their order; why others do not goes to `failures`."""
        for host in hosts_for(reference, self._settings):
            try:
                found = ask(host)
            except RegistryError as error:
                if not _may_be_elsewhere(error):
                    raise
                failures.append(error)
                self._progress.detail(error.message)
            else:
                yield found

    def _listed(self, host: Host, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        key = (host.name, host.path_of(reference))
        if key not in self._without_referrers:
            try:
                return self._pages(host, reference, digest)
            except RegistryError as error:
                if error.status not in _NO_API:
                    raise
                self._without_referrers.add(key)
        tagged = reference.with_tag(fallback_tag(digest))
        return parse_referrers(self._manifest(host, tagged), host.shown(tagged))

    def _pages(self, host: Host, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        what = f"referrers of {host.shown(reference.with_digest(digest))}"
        found: dict[Digest, Descriptor] = {}
        query = ""
        for _ in range(_MAX_PAGES):
            answer = self._get(host, reference, f"referrers/{digest}{query}", what, OCI_INDEX)
            page = content(self._document(host, what, answer), OCI_INDEX)
            found |= {entry.digest: entry for entry in parse_referrers(page, what)}
            # Of the next page's address only the query counts: it is asked where this one was.
            query = "".join(_NEXT_PAGE.findall(answer.headers.get("Link", ""))[:1])
            if not query:
                return tuple(found.values())
        raise RegistryError(f"registry {host.name}: {what}: more than {_MAX_PAGES} pages")

    def _manifest(self, host: Host, reference: Reference) -> Content:
        what = host.shown(reference)
        path = f"manifests/{reference.digest or reference.tag}"
        answer = self._get(host, reference, path, what, ", ".join(sorted(_DOCUMENTS)))
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type not in _DOCUMENTS:
            answer.close()
            raise _not_a_manifest(host, what, media_type)
        document = content(self._document(host, what, answer), media_type)
        promised = reference.digest or answer.headers.get("Docker-Content-Digest")
        if promised and promised != document.descriptor.digest:
            got = document.descriptor.digest
            expected = legible(promised)
            raise IntegrityError(f"{what} from {host.name}: expected {expected}, got {got}")
        return document

    def _document(self, host: Host, what: str, answer: Answer) -> bytes:
        raw = answer.body(MAX_DOCUMENT + 1)
        if len(raw) > MAX_DOCUMENT:
            message = f"registry {host.name}: {what} is more than {MAX_DOCUMENT >> 20} MiB"
            raise RegistryError(f"{message}, too large for a manifest", status=_OK)
        return raw

    def _get(
        self, host: Host, reference: Reference, path: str, what: str, accept: str = "*/*"
    ) -> Answer:
        repository = host.path_of(reference)
        url = f"{host.base}/{repository}/{path}"
        request = Request(host.name, url, Trust.of(host.settings), accept)
        answer = self._authenticator.get(host, repository, what, request)
        self._progress.detail(f"{what}: from {answer.request.address}")
        return answer


def _may_be_elsewhere(error: RegistryError) -> bool:
    status = error.status
    return status is None or status in _ELSEWHERE or status >= _SERVER_ERROR


def _all_failed(reference: Reference, failures: list[RegistryError]) -> RegistryError:
    """One error for all hosts that were asked."""
    if not failures:
        return RegistryError(
            f"registry {reference.registry}: there is no host to ask for {reference.familiar}",
            hint=f'name mirrors in [registries."{reference.registry}"], or drop upstream = false',
        )
    if len(failures) == 1:
        return failures[0]
    statuses = {error.status for error in failures}
    return RegistryError(
        f"{reference.familiar}: {'; '.join(error.message for error in failures)}",
        hint=next((error.hint for error in reversed(failures) if error.hint), None),
        status=statuses.pop() if len(statuses) == 1 else None,
    )


def _not_a_manifest(host: Host, what: str, media_type: str) -> RegistryError:
    if media_type.startswith(_SCHEMA_1):
        message = f"{what} is an image of the old schema 1, which no engine of today takes"
        hint = "push it anew with any Docker of the last years"
    else:
        message = f"{what} came as '{legible(media_type)}', which is no image"
        hint = f"is {host.name} a registry, and is this an image, not a chart or an artifact?"
    return RegistryError(f"registry {host.name}: {message}", hint=hint, status=_OK)
