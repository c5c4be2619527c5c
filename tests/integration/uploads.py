"""A registry that takes blobs, as far as it is let: for what no real one does on request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.integration.faults import Asked, Reply, Server, errors

Strike: TypeAlias = Callable[[Asked, Callable[[Asked], Reply]], Reply | None]
"""What happens instead: it may have the request done all the same. None: nothing special."""


class Uploads:
    """A guard of a `Server`: uploads by the specification, and strikes at them in their order."""

    def __init__(self, server: Server, *strikes: tuple[str, Strike]) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.begun: dict[str, bytes] = {}
        self._strikes = list(strikes)
        self._asked = server.asked
        server.guards["/v2/"] = self

    def __call__(self, asked: Asked) -> Reply:
        for n, (method, strike) in enumerate(self._strikes):
            if asked.method == method and (reply := strike(asked, self._done)):
                del self._strikes[n]
                return reply
        return self._done(asked)

    @property
    def said(self) -> list[str]:
        """The requests so far, in short: method, and the bytes that came with them."""
        spans = ((it, it.headers.get("content-range", "")) for it in self._asked)
        return [f"{it.method} {span or len(it.body)}" for it, span in spans]

    def _done(self, asked: Asked) -> Reply:
        url = urlsplit(asked.path)
        query = parse_qs(url.query)
        name = url.path.rpartition("/")[2]
        kept = self.manifests if "/manifests/" in url.path else self.blobs
        match asked.method:
            case "HEAD":
                found = {"Docker-Content-Digest": name} if name in kept else {}
                return Reply(200 if found else 404, headers=found)
            case "PUT" if "/manifests/" in url.path:
                self.manifests[name] = asked.body
                return Reply(201)
            case "POST":
                self.begun[f"u{len(self.begun)}"] = b""
                return self._placed(list(self.begun)[-1])
            case "GET" | "PATCH" | "PUT" if name not in self.begun:
                return errors(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
            case "GET":
                return replace(self._placed(name), status=204)
            case _:
                return self._taken(asked, name, query)

    def _taken(self, asked: Asked, name: str, query: dict[str, list[str]]) -> Reply:
        held = self.begun[name]
        start = re.match("[0-9]+", asked.headers.get("content-range", "0"))
        if asked.body and (start is None or int(start[0]) != len(held)):
            return errors(416, "RANGE_INVALID", "out of order")
        self.begun[name] = held + asked.body
        if asked.method == "PATCH":
            return self._placed(name)
        self.blobs[query["digest"][0]] = self.begun.pop(name)
        return Reply(201)

    def _placed(self, name: str) -> Reply:
        last = max(0, len(self.begun[name]) - 1)
        headers = {"Location": f"/v2/app/blobs/uploads/{name}?state=x", "Range": f"0-{last}"}
        return Reply(202, headers=headers)


def status(code: int, **headers: str) -> Strike:
    """An error instead of what was asked for."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _asked, _do: errors(code, "FAULT", "injected", named)


def lost(asked: Asked, do: Callable[[Asked], Reply]) -> Reply:
    """It is done, but the answer does not come."""
    do(asked)
    return Reply(500, b"x", cut=0)


def partly(size: int) -> Strike:
    """The first bytes are taken, then the connection ends."""

    def strike(asked: Asked, do: Callable[[Asked], Reply]) -> Reply:
        do(replace(asked, method="PATCH", body=asked.body[:size]))
        return Reply(500, b"x", cut=0)

    return strike


def short(size: int) -> Strike:
    """The first bytes are taken, and the answer says how many that were."""
    return lambda asked, do: do(replace(asked, body=asked.body[:size]))


def mounted(_asked: Asked, _do: Callable[[Asked], Reply]) -> Reply:
    """The registry has it already."""
    return Reply(201)


def also(**headers: str) -> Strike:
    """It is done, and the answer says something more, or something else."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def strike(asked: Asked, do: Callable[[Asked], Reply]) -> Reply:
        reply = do(asked)
        return replace(reply, headers={**reply.headers, **named})

    return strike
