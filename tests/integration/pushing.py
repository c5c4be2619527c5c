"""Tags that move in a writable registry, by its own API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import urllib3

from airgapbuild.oci.content import INDEX_TYPES, MANIFEST_TYPES

if TYPE_CHECKING:
    from tests.engines.registry import Registry

_ACCEPT = ", ".join(sorted(INDEX_TYPES | MANIFEST_TYPES))


def point(registry: Registry, repository: str, digest: str, *tags: str) -> None:
    """Points tags at a manifest or index that the repository has."""
    url = f"http://{registry.address}/v2/{repository}/manifests"
    found = urllib3.request("GET", f"{url}/{digest}", headers={"Accept": _ACCEPT})
    for tag in tags:
        kind = {"Content-Type": found.headers["Content-Type"]}
        done = urllib3.request("PUT", f"{url}/{tag}", body=found.data, headers=kind)
        assert done.status == 201, done.data


def remove(registry: Registry, repository: str, digest: str) -> None:
    """Removes a manifest or index, and the tags that point at it."""
    url = f"http://{registry.address}/v2/{repository}/manifests/{digest}"
    assert urllib3.request("DELETE", url).status == 202
