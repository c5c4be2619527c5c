"""Pushing what was made in memory into a real registry."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.memory import MemorySource


def push(source: MemorySource, registry: str) -> None:
    """Pushes all images of a source, blobs first; `registry` is a plain one's host and port."""
    with closing(HTTPConnection(registry, timeout=60)) as connection:
        names = [key.partition("/")[2] for key in source.manifests]
        repositories = {name.partition("@")[0].partition(":")[0] for name in names}
        for repository in sorted(repositories):
            for digest, blob in source.blobs.items():
                begun = f"/v2/{repository}/blobs/uploads/"
                location = _sent(connection, "POST", begun, b"", {})
                ended = f"{location}&digest={digest}"
                _sent(connection, "PUT", ended, blob, {})
        for name, document in zip(names, source.manifests.values(), strict=True):
            repository, separator, key = name.partition("@" if "@" in name else ":")
            assert separator
            headers = {"Content-Type": document.descriptor.media_type}
            path = f"/v2/{repository}/manifests/{key}"
            _sent(connection, "PUT", path, document.raw, headers)


def _sent(
    connection: HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
) -> str:
    connection.request(method, path, body, headers)
    with connection.getresponse() as answer:
        said = answer.read()
        assert answer.status in {201, 202}, said
        return answer.headers.get("Location", "")
