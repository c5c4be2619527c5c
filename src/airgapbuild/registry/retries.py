"""When something is tried again, and when no more.

The only place that tries again; whatever is sent twice comes to the same. Waits grow from try to
try and are drawn at random up to their bound, so that clients which failed together do not come
back together ("full jitter").
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from airgapbuild.errors import PassingError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airgapbuild.progress import Progress


@dataclass(frozen=True)
class Retries:
    """How often one host is tried for one request or transfer, and how long is waited between."""

    tries: int = 5
    """In a row without a new byte; every new byte starts the count afresh."""
    first: float = 0.5
    """The longest first wait, in seconds; it doubles from try to try."""
    longest: float = 30.0
    """The longest of them."""
    budget: float = 120.0
    """All waits together, in seconds. A `Retry-After` beyond it is not waited for."""
    clock: Callable[[], float] = time.time
    """The seconds since 1970."""
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    """A number from 0 to 1."""


@dataclass(frozen=True)
class Memory:
    """What later requests and transfers know of earlier ones."""

    spent: set[str] = field(default_factory=set)
    """The hosts at which all tries of an earlier one were in vain. They get one try, until they
    answer again: a mirror that is down is not waited for at every blob."""
    told: set[tuple[str, int]] = field(default_factory=set)
    """Of which host, and after how many vain tries in a row, it was said that it is tried again."""


class Attempts:
    """The tries of one request or transfer at one host."""

    def __init__(self, host: str, retries: Retries, memory: Memory, progress: Progress) -> None:
        self._host = host
        self._retries = retries
        self._spent = memory.spent
        self._told = memory.told
        self._progress = progress
        self._tries = 1 if host in memory.spent else retries.tries
        self._made = 0
        self._vain = 0
        self._waited = 0.0

    def advanced(self) -> None:
        """The host has answered, or more bytes have come."""
        self._vain = 0
        self._tries = self._retries.tries
        self._spent.discard(self._host)

    def failed(self, what: str, error: PassingError) -> None:
        """Returns when it is time for the next try; `what` is tried.

        Raises:
            RegistryError: there is none left, or it is too far off.
        """
        self._made += 1
        self._vain += 1
        asked = _seconds(error.retry_after or "", self._retries.clock())
        if self._vain >= self._tries:
            raise self._last(error, asked) from error
        wait = max(asked, self._bound * self._retries.random())
        if self._is_too_far(wait):
            raise self._last(error, wait) from error
        self._waited += wait
        following = f"try {self._vain + 1} of {self._tries}"
        self._tell(f"{error.message}; {following} for {what} in {wait:.1f} s")
        self._retries.sleep(wait)

    def _tell(self, message: str) -> None:
        """Everybody hears once of a host's second try, of its third, and so on."""
        this = (self._host, self._vain)
        if this in self._told:
            self._progress.detail(message)
        else:
            self._told.add(this)
            self._progress.note(message)

    @property
    def _bound(self) -> float:
        """The longest next wait, in seconds, unless the host asks for more."""
        return min(self._retries.longest, self._retries.first * 2.0 ** (self._vain - 1))

    def _is_too_far(self, wait: float) -> bool:
        return self._waited + wait > self._retries.budget

    def _last(self, error: PassingError, wait: float) -> RegistryError:
        self._spent.add(self._host)
        tried = f", tried {self._made} times" if self._made > 1 else ""
        due = f"; the next try is due in {wait:.0f} s" if self._is_too_far(wait) else ""
        return RegistryError(f"{error.message}{tried}{due}", hint=error.hint, status=error.status)


def _seconds(retry_after: str, now: float) -> float:
    """How long a Retry-After header asks to wait from `now` on; 0 if it says nothing.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    text = retry_after.strip()
    try:
        if text.isascii() and text.isdigit():
            return float(text)
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
