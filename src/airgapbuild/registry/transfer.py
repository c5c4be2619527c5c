"""Bytes of a blob on their way: what is still wanted, and whether that is what comes.

Nothing here asks anybody; the answers may come from several hosts, one after another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airgapbuild.errors import IntegrityError, PassingError, RangeIgnored, RegistryError
from airgapbuild.oci.digest import short
from airgapbuild.registry.words import legible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.reference import Reference
    from airgapbuild.registry.transport import Answer

_PARTIAL = 206
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


class Transfer:
    """The bytes of a blob from `start` up to, without it, `stop`, and how far they have come."""

    def __init__(self, reference: Reference, descriptor: Descriptor, start: int, stop: int) -> None:
        self.reference = reference
        self.path = f"blobs/{descriptor.digest}"
        self.what = f"blob {short(descriptor.digest)} of {reference.familiar}"
        self._digest, self._size = descriptor.digest, descriptor.size
        self._whole = (start, stop) == (0, descriptor.size)
        self._position, self._stop = start, stop
        self._sources: list[str] = []

    def __str__(self) -> str:
        """What is fetched, and from where its bytes have come."""
        return f"{self.what} from {', '.join(self._sources)}" if self._sources else self.what

    @property
    def complete(self) -> bool:
        """Whether all bytes have come."""
        return self._position == self._stop

    @property
    def span(self) -> tuple[int, int] | None:
        """The bytes to ask for now; None for all of the blob."""
        return None if self._whole and not self._position else (self._position, self._stop)

    @property
    def rest(self) -> str:
        """What is still to be fetched, in words."""
        return f"{self.what} from byte {self._position}" if self._position else self.what

    def chunks(self, answer: Answer) -> Iterator[bytes]:
        """The bytes that were still missing, of the answer to a request for `span`.

        A blob that comes from its beginning again is taken from where it broke off.

        Raises:
            PassingError: it breaks off.
            RangeIgnored: a part was asked for, and the whole would come.
            RegistryError: it is another part.
            IntegrityError: there are more bytes, or the blob is of another size.
        """
        if answer.request.address not in self._sources:
            self._sources.append(answer.request.address)
        known = self._known(answer)
        for chunk in answer.chunks():
            new = chunk[known:] if known else chunk
            known -= len(chunk) - len(new)
            if self._position + len(new) > self._stop:
                raise IntegrityError(f"{self}: more than the {self._size} bytes of {self._digest}")
            if new:
                self._position += len(new)
                yield new
        if not self.complete:
            name = answer.request.name
            raise PassingError(f"registry {name}: {self.what} ends at byte {self._position}")

    def _known(self, answer: Answer) -> int:
        """How many bytes of the body have come before, once its head says what was asked for."""
        if answer.status == _PARTIAL:
            self._check_range(answer)
            return 0
        if not self._whole:
            message = f"registry {answer.request.name}: {self.what} comes as a whole only"
            raise RangeIgnored(message, status=answer.status)
        self._check_size(answer.headers.get("Content-Length", ""))
        return self._position

    def _check_range(self, answer: Answer) -> None:
        header = answer.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(header)
        if found:
            self._check_size(found[3])
        if self.span is None or found is None or (int(found[1]), int(found[2]) + 1) != self.span:
            message = f"{self.rest} comes as the range '{legible(header)}'"
            raise RegistryError(f"registry {answer.request.name}: {message}", status=answer.status)

    def _check_size(self, size: str) -> None:
        """A blob of another size is not begun: its last bytes might never come."""
        if size.isdigit() and size != str(self._size):
            size = legible(size)
            raise IntegrityError(f"{self}: {size} bytes, not the {self._size} of {self._digest}")
