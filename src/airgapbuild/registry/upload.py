"""A registry that takes images: blobs, in uploads that go on where they broke off, and manifests.

Source: OCI distribution specification v1.1, "Push".
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import IntegrityError, PassingError, RegistryError
from airgapbuild.oci.digest import parse_digest, short
from airgapbuild.oci.referrers import fallback_tag, listing
from airgapbuild.registry.hosts import Host
from airgapbuild.registry.origin import checked_step, joined, origin_of
from airgapbuild.registry.remote import ACCEPTED, request_to
from airgapbuild.registry.transport import Body
from airgapbuild.registry.words import legible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from airgapbuild.manifest import RegistrySettings
    from airgapbuild.oci.content import Content, Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Task
    from airgapbuild.registry.remote import Remote
    from airgapbuild.registry.retries import Attempts
    from airgapbuild.registry.transport import Answer, Request

CHUNK: Final = 64 << 20
"""A larger blob goes in chunks of this size, in bytes: what is lost where a proxy, which passes on
whole requests only, is cut off. Registries want 5 MiB at least, and some proxies 100 MB at most."""

_OK, _CREATED, _NO_CONTENT, _NOT_FOUND = 200, 201, 204, 404
_THERE_OR_NOT: Final = frozenset({_OK, _NOT_FOUND})
_BEGUN: Final = frozenset({_CREATED, 202})
_TAKEN: Final = frozenset({_CREATED, 202, _NO_CONTENT})
_FILED: Final = frozenset({_OK, _CREATED, 202})
_OUT_OF_ORDER = 416
_LOST: Final = frozenset({_NOT_FOUND, _OUT_OF_ORDER})
"""How a registry says that it does not know an upload, or has other bytes of it than we think."""
_NO_CHUNKS: Final = frozenset({400, 405, 415, 501})
"""How registries refuse a chunk that take blobs as a whole only, against the specification."""
_BYTES: Final = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)


class RegistryTarget:
    """The repositories of one registry, to write to. Safe to use from many threads."""

    def __init__(
        self, name: str, settings: RegistrySettings, remote: Remote, *, chunk: int = CHUNK
    ) -> None:
        self.name = name
        self._host = Host(name, "", settings)
        self._remote = remote
        self._chunk = chunk

    def has(self, reference: Reference, digest: Digest) -> bool:
        """Whether a repository has a blob.

        Raises:
            RegistryError: it does not say.

        Source: "Checking if content exists in the registry".
        """
        request = replace(request_to(self._host, reference, f"blobs/{digest}"), method="HEAD")
        what = f"blob {short(digest)} of {reference.familiar}"
        return self._asked(reference, what, request).status == _OK

    def put(
        self,
        reference: Reference,
        blob: Descriptor,
        read: Callable[[], Iterator[bytes]],
        task: Task,
        source: Reference | None = None,
    ) -> bool:
        """Puts a blob into a repository; whether its bytes had to be sent.

        They had not where the registry mounts it from `source`, a repository that has it. `read`
        gives the bytes from the first on, as often as it is called.

        Raises:
            RegistryError: the registry refuses it, or it breaks off and does not go on.
            IntegrityError: the bytes, or what the registry made of them, are not of this digest.

        Source: "Pushing blobs", "Mounting a blob from another repository".
        """
        content = _Bytes(read, task)
        upload = _Upload(self._remote, self._host, reference, blob, content, self._chunk)
        return upload.run(source)

    def digest_of(self, reference: Reference) -> Digest | None:
        """The digest of the manifest at a tag or digest; None where there is none, or none is told.

        Raises:
            RegistryError: the registry does not say.

        Source: "Checking if content exists in the registry".
        """
        path = f"manifests/{reference.digest or reference.tag}"
        asked = request_to(self._host, reference, path)
        request = replace(asked, method="HEAD", accept=ACCEPTED)
        answer = self._asked(reference, reference.familiar, request)
        if answer.status == _NOT_FOUND:
            return None
        try:
            return reference.digest or parse_digest(answer.headers.get("Docker-Content-Digest", ""))
        except ValueError:
            return None

    def put_manifest(self, reference: Reference, document: Content) -> None:
        """Puts a manifest or index where `reference`, by tag or digest, leads to.

        Raises:
            RegistryError: the registry refuses it.
            IntegrityError: it made something else of it.

        Source: "Pushing Manifests".
        """
        what = reference.familiar
        path = f"manifests/{reference.digest or reference.tag}"
        body = Body.of(document.raw, document.descriptor.media_type)
        request = replace(request_to(self._host, reference, path), method="PUT", body=body)

        def put(host: Host) -> None:
            answer = self._remote.send(host, reference, what, request, _FILED)
            answer.discard()
            _check_taken(answer, document.descriptor.digest, what)

        self._remote.again(self._host, reference, put)

    def attach(self, reference: Reference, subject: Digest, referrers: Sequence[Content]) -> bool:
        """Sees to it that these manifests, which are there, are listed as referring to `subject`.

        Returns whether the list had to be written: a registry with the Referrers API has it itself.

        Raises:
            RegistryError, IntegrityError: there is no list, nor can it be written.

        Source: "Pushing Manifests with Subject", "Referrers Tag Schema".
        """
        tagged = reference.with_tag(fallback_tag(subject))
        known = self._listed(reference, subject)
        missing = [it for it in referrers if it.descriptor.digest not in known]
        if not missing or self._remote.lists_referrers(self._host, reference):
            return False
        old = None
        if known:
            old = self._remote.again(
                self._host, tagged, lambda host: self._remote.manifest(host, tagged)
            )
        self.put_manifest(tagged, listing(old, missing))
        return True

    def close(self) -> None:
        """Closes the connections."""
        self._remote.close()

    def _asked(self, reference: Reference, what: str, request: Request) -> Answer:
        """The answer to a HEAD: 200, or 404."""

        def ask(host: Host) -> Answer:
            answer = self._remote.send(host, reference, what, request, _THERE_OR_NOT)
            answer.discard()
            return answer

        return self._remote.again(self._host, reference, ask)

    def _listed(self, reference: Reference, subject: Digest) -> frozenset[Digest]:
        """What the registry lists as referring to a manifest or index."""
        try:
            listed = self._remote.referrers(self._host, reference, subject)
        except RegistryError as error:
            if error.status != _NOT_FOUND:
                raise
            return frozenset()
        return frozenset(it.digest for it in listed)


class _Upload:
    """One blob on its way into one repository."""

    def __init__(
        self,
        remote: Remote,
        host: Host,
        reference: Reference,
        blob: Descriptor,
        content: _Bytes,
        chunk: int,
    ) -> None:
        self._remote = remote
        self._host = host
        self._reference = reference
        self._blob = blob
        self._content = content
        self._chunk = chunk
        self._what = f"blob {short(blob.digest)} for {reference.familiar}"
        self._location = ""
        self._position = 0
        """How many bytes the registry has."""
        self._farthest = 0
        self._disputed: int | None = None
        """Where a registry last had other bytes than we thought."""
        self._is_again = False

    def run(self, source: Reference | None) -> bool:
        """Brings it there, in as many tries as it takes; whether bytes were sent."""
        attempts = self._remote.attempts(self._host)
        while True:
            try:
                return self._step(source, attempts)
            except PassingError as error:
                self._is_again = True
                attempts.failed(f"{self._what} from byte {self._position}", error)

    def _step(self, source: Reference | None, attempts: Attempts) -> bool:
        if self._location:
            self._look_where(attempts)
        if self._is_again and not self._location and self._is_there():
            return True
        if not self._location and self._begin(source):
            return False
        try:
            self._send(attempts)
        except PassingError:
            raise
        except RegistryError as error:
            self._recover(error)
        return True

    def _begin(self, source: Reference | None) -> bool:
        """Asks for a place to upload to; whether none is needed, since the blob was mounted.

        A registry that will not mount may say so by any error, and is then asked for a place alone.
        """
        if source is not None:
            query = f"?mount={self._blob.digest}&from={source.repository}"
            try:
                return self._placed(query)
            except PassingError:
                raise
            except RegistryError as error:
                self._remote.progress.detail(error.message)
        return self._placed("")

    def _placed(self, query: str) -> bool:
        request = request_to(self._host, self._reference, f"blobs/uploads/{query}")
        answer = self._sent(replace(request, method="POST"), _BEGUN)
        if query and answer.status == _CREATED:
            return True
        self._position = 0
        self._go_to(answer)
        if not self._location:
            message = f"registry {self._host.name}: it names no place to upload {self._what} to"
            raise RegistryError(message, status=answer.status)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        if least.isascii() and least.isdigit():
            self._chunk = max(self._chunk, int(least))
        return False

    def _send(self, attempts: Attempts) -> None:
        """Sends what the registry does not have, and ends the upload."""
        size = self._blob.size
        in_chunks = size > self._chunk or self._position > 0
        while in_chunks and self._position < size:
            self._send_chunk(attempts)
        rest = self._body(size) if self._position < size else Body.of(b"", _BYTES)
        separator = "&" if "?" in self._location else "?"
        url = f"{self._location}{separator}digest={self._blob.digest}"
        answer = self._sent(replace(self._request(rest), url=url, method="PUT"), {_CREATED})
        _check_taken(answer, self._blob.digest, self._what)

    def _send_chunk(self, attempts: Attempts) -> None:
        stop = min(self._position + self._chunk, self._blob.size)
        body = replace(self._body(stop), start=self._position)
        answer = self._sent(replace(self._request(body), method="PATCH"), _TAKEN)
        self._go_to(answer)
        position = self._received(answer, stop)
        if position <= self._position:
            message = f"registry {self._host.name}: it takes nothing of {self._what}"
            raise RegistryError(message, status=_OUT_OF_ORDER)
        self._reached(position, attempts)

    def _reached(self, position: int, attempts: Attempts) -> None:
        self._position = position
        if position > self._farthest:
            self._farthest = position
            attempts.advanced()

    def _look_where(self, attempts: Attempts) -> None:
        """Asks how far the upload has come; one that the registry does not tell of is given up.

        Source: "Pushing a blob in chunks", the status of an upload.
        """
        try:
            answer = self._sent(self._request(None), _TAKEN)
        except PassingError:
            raise
        except RegistryError:
            self._location = ""
        else:
            self._go_to(answer)
            self._reached(self._received(answer, 0), attempts)

    def _received(self, answer: Answer, unsaid: int) -> int:
        """How many bytes the registry has, by the Range of its answer; `unsaid` without one.

        Distribution says `0-0` of no byte as well as of one.
        """
        found = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if found is None:
            return unsaid
        last = int(found[1])
        if last >= self._blob.size:
            message = f"registry {self._host.name}: it has more of {self._what} than there is"
            raise RegistryError(message, status=_OUT_OF_ORDER)
        return last + 1 if last else 0

    def _is_there(self) -> bool:
        """Whether the blob has come whole, and only the answer was lost."""
        path = f"blobs/{self._blob.digest}"
        request = replace(request_to(self._host, self._reference, path), method="HEAD")
        return self._sent(request, _THERE_OR_NOT).status == _OK

    def _recover(self, error: RegistryError) -> None:
        """Returns never: the error is final, or the upload goes on, or begins anew, as a whole.

        A registry may still be writing what came before a cut while it tells how much it has, as
        distribution 3 does: what it then refuses as out of order, it is asked about once more.
        """
        is_in_chunks = self._chunk < self._blob.size
        if error.status == _OUT_OF_ORDER and self._position != self._disputed:
            self._disputed = self._position
        elif error.status in _LOST:
            self._location = ""
        elif error.status in _NO_CHUNKS and is_in_chunks:
            self._location, self._chunk = "", self._blob.size
        else:
            raise error
        raise PassingError(error.message, hint=error.hint, status=error.status) from error

    def _body(self, stop: int) -> Body:
        start = self._position
        return Body(lambda: self._content.span(start, stop), stop - start)

    def _request(self, body: Body | None) -> Request:
        """A request to the place of the upload, which may be at another host."""
        request = replace(request_to(self._host, self._reference, ""), url=self._location)
        if origin_of(self._location) != origin_of(self._host.base):
            request = replace(request, trust=request.trust.for_others)
        return replace(request, body=body)

    def _sent(self, request: Request, expected: Collection[int]) -> Answer:
        answer = self._remote.send(self._host, self._reference, self._what, request, expected)
        answer.discard()
        return answer

    def _go_to(self, answer: Answer) -> None:
        """Takes over where an answer says that the upload goes on."""
        if location := joined(answer.request.url, answer.headers.get("Location", "")):
            checked_step(self._host.name, answer.request.url, location, answer.status)
            self._location = location


class _Bytes:
    """The bytes of a blob, at any place; read once where they are asked for in their order."""

    def __init__(self, read: Callable[[], Iterator[bytes]], task: Task) -> None:
        self._read = read
        self._task = task
        self._chunks: Iterator[bytes] = iter(())
        self._rest = memoryview(b"")
        self._at: int | None = None
        self._farthest = 0

    def span(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` up to, without it, `stop`.

        Raises:
            BundleError, IntegrityError: what `read` gives is not right.
        """
        if self._at != start:
            self._chunks, self._rest, self._at = self._read(), memoryview(b""), 0
            for _ in self._take(start):
                pass
        for piece in self._take(stop):
            yield piece
            position = self._at or 0
            if position > self._farthest:
                self._task.advance(position - self._farthest)
                self._farthest = position

    def _take(self, stop: int) -> Iterator[memoryview]:
        at = self._at or 0
        while at < stop:
            self._rest = self._rest or memoryview(next(self._chunks))
            piece = self._rest[: stop - at]
            self._rest = self._rest[len(piece) :]
            self._at = at = at + len(piece)
            yield piece


def _check_taken(answer: Answer, digest: Digest, what: str) -> None:
    """Returns only if the registry does not say that it has made something else of it."""
    taken = answer.headers.get("Docker-Content-Digest", digest)
    if taken != digest:
        name = answer.request.name
        raise IntegrityError(f"registry {name}: {what}: sent {digest}, stored {legible(taken)}")
