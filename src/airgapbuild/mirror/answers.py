"""What a read-only registry answers.

Source: OCI distribution specification v1.1, "Pull", "Content Discovery" and "Error Codes"; the
catalog is from Docker's HTTP API V2, which it goes back to.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from airgapbuild.mirror.ranges import UnsatisfiableError, parse_range
from airgapbuild.oci.content import parse_manifest
from airgapbuild.oci.digest import parse_digest
from airgapbuild.oci.reference import parse_repository
from airgapbuild.oci.referrers import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airgapbuild.mirror.catalog import Blob, Catalog, Repository
    from airgapbuild.oci.digest import Digest

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+", re.ASCII)
"""Of any algorithm, by the specification's grammar."""
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
"""Of more digits than names can be counted by, a number is none."""
_ROUTES = re.compile(
    r"/v2/(?P<name>.+)/(?:(?P<kind>manifests|blobs|referrers)/(?P<what>[^/]+)|tags/list)"
)


@dataclass(frozen=True)
class Request:
    """What is asked; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A status, headers, and a body: bytes, or those of a blob."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    blob: Blob | None = None
    span: range = range(0)
    """Which bytes of the blob."""


class Refusal(Exception):  # noqa: N818 - an answer like others
    """What is answered where something cannot be had."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] = _NONE
    ) -> None:
        super().__init__(message)
        found = json_answer({"errors": [{"code": code, "message": message}]}, headers)
        self.answer = replace(found, status=status)


def json_answer(document: object, headers: Mapping[str, str] = _NONE) -> Answer:
    """A document as JSON."""
    body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    return Answer(HTTPStatus.OK, {"Content-Type": "application/json", **headers}, body)


def answer(catalog: Catalog, request: Request) -> Answer:
    """The answer to a request. For HEAD it has a body, too, which is not to be sent."""
    try:
        return _route(catalog, request)
    except Refusal as refusal:
        return refusal.answer


def _route(catalog: Catalog, request: Request) -> Answer:
    if request.path != "/v2" and not request.path.startswith("/v2/"):
        raise Refusal(404, "UNSUPPORTED", "there is nothing but /v2/ and /healthz")
    if request.method not in {"GET", "HEAD"}:
        message = f"{request.method}: this registry is read-only"
        raise Refusal(405, "UNSUPPORTED", message, {"Allow": "GET, HEAD"})
    if request.path in {"/v2", "/v2/"}:
        return json_answer({})
    if request.path == "/v2/_catalog":
        names = catalog.names(request.query.get("ns"))
        page, link = _page(names, request)
        return json_answer({"repositories": page}, link)
    found = _ROUTES.fullmatch(request.path)
    if found is None:
        raise Refusal(404, "UNSUPPORTED", f"{request.path}: there is no such endpoint")
    repository = _repository(catalog, found["name"], request.query.get("ns"))
    if found["kind"] is None:
        page, link = _page(sorted(repository.tags), request)
        return json_answer({"name": found["name"], "tags": page}, link)
    return _KINDS[found["kind"]](repository, found["what"], request)


def _repository(catalog: Catalog, name: str, host: str | None) -> Repository:
    try:
        parse_repository(name)
    except ValueError as error:
        raise Refusal(400, "NAME_INVALID", str(error)) from error
    repository = catalog.find(name, host)
    if repository is None:
        where = f" of {host}" if host is not None else ""
        raise Refusal(404, "NAME_UNKNOWN", f"{name}: no such repository{where} is served here")
    return repository


def _manifest(repository: Repository, what: str, request: Request) -> Answer:
    digest = _digest(what) if ":" in what else repository.tags.get(what)
    document = repository.manifests.get(digest) if digest else None
    if document is None:
        raise Refusal(404, "MANIFEST_UNKNOWN", f"{repository.full_name}: {what} is not served here")
    its = document.descriptor
    headers = {"Content-Type": its.media_type, **_identity(its.digest)}
    return _unless_known(Answer(200, headers, document.raw), its.digest, request)


def _blob(repository: Repository, what: str, request: Request) -> Answer:
    digest = _digest(what)
    blob = repository.blobs.get(digest) if digest else None
    if blob is None:
        raise Refusal(404, "BLOB_UNKNOWN", f"{repository.full_name}: {what} is not served here")
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        **_identity(blob.digest),
    }
    whole = Answer(200, headers, blob=blob, span=range(blob.size))
    known = _unless_known(whole, blob.digest, request)
    if known is not whole or request.method != "GET" or not _may_part(blob, request):
        return known
    return _part(whole, blob, request)


def _part(whole: Answer, blob: Blob, request: Request) -> Answer:
    try:
        span = parse_range(request.headers.get("range"), blob.size)
    except UnsatisfiableError:
        message = f"{blob.digest} has {blob.size} bytes"
        its = {"Content-Range": f"bytes */{blob.size}"}
        raise Refusal(416, "SIZE_INVALID", message, its) from None
    if span is None:
        return whole
    its = {"Content-Range": f"bytes {span.start}-{span.stop - 1}/{blob.size}"}
    return replace(whole, status=206, headers={**whole.headers, **its}, span=span)


def _referrers(repository: Repository, what: str, request: Request) -> Answer:
    subject = _digest(what)
    documents = list(repository.referrers.get(subject, {}).values()) if subject else []
    kind = request.query.get("artifactType")
    applied = {}
    if kind:
        documents = [
            it for it in documents if parse_manifest(it, it.descriptor.digest).artifact_type == kind
        ]
        applied = {"OCI-Filters-Applied": "artifactType"}
    found = listing(None, documents)
    return Answer(200, {"Content-Type": found.descriptor.media_type, **applied}, found.raw)


_KINDS: Final[Mapping[str, Callable[[Repository, str, Request], Answer]]] = {
    "manifests": _manifest,
    "blobs": _blob,
    "referrers": _referrers,
}


def _digest(text: str) -> Digest | None:
    """The digest that `text` is; None for one of another algorithm, which nothing here has."""
    try:
        return parse_digest(text)
    except ValueError as error:
        if _DIGEST.fullmatch(text) and not text.startswith("sha256:"):
            return None
        raise Refusal(400, "DIGEST_INVALID", str(error)) from error


def _page(names: Sequence[str], request: Request) -> tuple[list[str], dict[str, str]]:
    """The names behind `last`, at most `n`, and where the next ones are."""
    start = bisect_right(names, request.query["last"]) if "last" in request.query else 0
    most = request.query.get("n", str(len(names)))
    if not _NUMBER.fullmatch(most):
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", f"n={most[:20]} is no number")
    page = list(names[start : start + int(most)])
    if not page or names[-1] == page[-1]:
        return page, {}
    query = urlencode({**request.query, "n": most, "last": page[-1]}, safe="/")
    return page, {"Link": f'<{request.path}?{query}>; rel="next"'}


def _identity(digest: Digest) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}


def _unless_known(found: Answer, digest: Digest, request: Request) -> Answer:
    """The answer, or that nothing has changed. Source: RFC 9110, section 13.1.2."""
    said = request.headers.get("if-none-match", "")
    known = {tag.strip().removeprefix("W/") for tag in said.split(",")}
    return Answer(304, _identity(digest)) if known & {"*", f'"{digest}"'} else found


def _may_part(blob: Blob, request: Request) -> bool:
    """Whether a part is wanted of this very blob."""
    return request.headers.get("if-range", f'"{blob.digest}"') == f'"{blob.digest}"'
