"""A proxy before a real registry that does to its answers what a schedule asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from http.client import HTTPConnection
from typing import TypeAlias

from tests.integration.faults import Asked, Reply, errors

Forward: TypeAlias = Callable[[Asked], Reply]
"""Gets the registry's answer."""
Strike: TypeAlias = Callable[[Asked, Forward], Reply]

_PASSED = ("accept", "range")
_HOP_BY_HOP = frozenset({"connection", "content-length", "date", "transfer-encoding"})


@dataclass(frozen=True)
class Fault:
    """One thing that may happen to a request."""

    name: str
    strike: Strike

    def __repr__(self) -> str:
        return self.name


Schedule: TypeAlias = Callable[[str, int], Fault | None]
"""What happens to a path's request, by its number from 0 on."""


def forward_to(registry: str) -> Forward:
    """The answers of a plain registry at this host and port, whose content does not change."""

    @cache
    def answered(path: str, **headers: str) -> Reply:
        with closing(HTTPConnection(registry, timeout=60)) as connection:
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as answer:
                given = {
                    key: value
                    for key, value in answer.headers.items()
                    if key.lower() not in _HOP_BY_HOP
                }
                return Reply(answer.status, answer.read(), given)

    return lambda asked: answered(
        asked.path, **{key: asked.headers[key] for key in _PASSED if key in asked.headers}
    )


class Faulty:
    """A guard of a `Server` (see `faults`) that passes requests on, but for the schedule."""

    def __init__(self, forward: Forward, schedule: Schedule) -> None:
        self.struck: list[Fault] = []
        self._forward = forward
        self._schedule = schedule
        self._turns: Counter[str] = Counter()

    def __call__(self, asked: Asked) -> Reply:
        fault = self._schedule(asked.path, self._turns[asked.path])
        self._turns[asked.path] += 1
        if fault is None:
            return self._forward(asked)
        self.struck.append(fault)
        return fault.strike(asked, self._forward)


def status(code: int, retry_after: str | None = None) -> Fault:
    """An error of the registry."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    name = f"{code}" if retry_after is None else f"{code} retry-after {retry_after}"
    return Fault(name, lambda _asked, _forward: errors(code, "FAULT", "injected", headers))


def cut(at: int) -> Fault:
    """The connection ends after so many bytes of the body."""
    return Fault(f"cut at {at}", lambda asked, forward: replace(forward(asked), cut=at))


def stall(at: int) -> Fault:
    """Nothing follows so many bytes of the body."""
    return Fault(f"stall at {at}", lambda asked, forward: replace(forward(asked), stall=at))


def wrong_byte(at: int) -> Fault:
    """One byte of the body is another; of a short body the last."""

    def strike(asked: Asked, forward: Forward) -> Reply:
        reply = forward(asked)
        place = min(at, len(reply.body) - 1)
        body = bytearray(reply.body)
        body[place] ^= 1
        return replace(reply, body=bytes(body))

    return Fault(f"wrong byte {at}", strike)


def wrong_length(by: int) -> Fault:
    """Content-Length names more or fewer bytes than come; where more are due, the end comes."""

    def strike(asked: Asked, forward: Forward) -> Reply:
        reply = forward(asked)
        size = len(reply.body)
        headers = {**reply.headers, "Content-Length": str(max(0, size + by))}
        return replace(reply, headers=headers, cut=size if by > 0 else None)

    return Fault(f"length {by:+}", strike)


def redirect(elsewhere: str) -> Fault:
    """The answer is at another host, `elsewhere` being its URL."""
    return Fault(
        "redirect",
        lambda asked, _: Reply(307, headers={"Location": f"{elsewhere}{asked.path}"}),
    )


def no_range(at: int | None = None) -> Fault:
    """Range is ignored; the whole is cut at byte `at`, if at all."""

    def strike(asked: Asked, forward: Forward) -> Reply:
        headers = {key: value for key, value in asked.headers.items() if key != "range"}
        return replace(forward(replace(asked, headers=headers)), cut=at)

    return Fault("no range" if at is None else f"no range, cut at {at}", strike)
