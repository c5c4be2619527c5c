"""A registry, or its mirrors, as a `Source`.

Source: OCI distribution specification v1.1, "Pull" and "Content Discovery".
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from airgapbuild.errors import PassingError, RangeIgnored, RegistryError
from airgapbuild.oci.digest import verified
from airgapbuild.progress import SILENT
from airgapbuild.registry.hosts import hosts_for, key_for, with_variables
from airgapbuild.registry.remote import Remote, request_to
from airgapbuild.registry.transfer import Transfer
from airgapbuild.registry.transport import DEFAULT_TIMEOUTS, NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from airgapbuild.credentials import Credentials
    from airgapbuild.manifest import RegistrySettings
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Progress
    from airgapbuild.registry.hosts import Host
    from airgapbuild.registry.transport import Timeouts

_T = TypeVar("_T")
_NOT_FOUND, _SERVER_ERROR = 404, 500
_ELSEWHERE: Final = frozenset({206, 401, 403, 404, 408, 416, 429})
"""Failures after which the next host may do better; so are all from 500 on, and silence."""


class RegistrySource:
    """Manifests and blobs from registries, by way of their mirrors.

    `settings` are those of the manifest, by host; `credentials` gives the logins; `environ` may
    name proxies, and mirrors. Safe to use from many threads.

    Raises:
        ManifestError: what a mirror's variable says is no mirror.
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
        self._written = settings
        self._settings = with_variables(settings, environ)
        self._remote = Remote(credentials, progress=progress, timeouts=timeouts, environ=environ)
        self._answered: dict[Reference, str] = {}

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
        return self._first(reference, lambda host: self._remote.tags(host, reference))

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
        listed = self._first_or_none(
            reference, lambda host: self._remote.referrers(host, reference, digest)
        )
        return listed or ()

    def find(self, reference: Reference) -> Content | None:
        """As `manifest`, None where a host says that there is no such thing, and no other has it.

        Raises:
            RegistryError, IntegrityError: see `manifest`.
        """
        return self._first_or_none(reference, lambda host: self._manifest(host, reference))

    def close(self) -> None:
        """Closes the connections."""
        self._remote.close()

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
                yield self._remote.again(host, reference, ask)

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
            self._remote.progress.detail(error.message)

    def _none_gave(self, reference: Reference, failures: list[RegistryError]) -> RegistryError:
        """One error for all hosts that were asked."""
        hosts = hosts_for(reference, self._settings)
        if not hosts:
            key = key_for(reference, self._written)
            unset = ", ".join(self._written[key].mirrors)
            what = f"set {unset}" if unset else f'name mirrors in [registries."{key}"]'
            return RegistryError(
                f"registry {reference.registry}: there is no host to ask for {reference.familiar}",
                hint=f"{what}, or drop upstream = false",
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
        attempts = self._remote.attempts(host)
        while not transfer.complete:
            try:
                request = replace(request_to(host, reference, transfer.path), span=transfer.span)
                with closing(self._remote.send(host, reference, transfer.what, request)) as answer:
                    for chunk in transfer.chunks(answer):
                        attempts.advanced()
                        yield chunk
            except PassingError as error:
                if not transfer.complete:
                    attempts.failed(transfer.rest, error)

    def _manifest(self, host: Host, reference: Reference) -> Content:
        document = self._remote.manifest(host, reference)
        self._answered[reference] = f"{host.name}/{host.path_of(reference)}"
        return document


def _may_be_elsewhere(error: RegistryError) -> bool:
    status = error.status
    return status is None or status in _ELSEWHERE or status >= _SERVER_ERROR
