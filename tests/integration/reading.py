"""Reading from scripted servers: what the tests of the registry package share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

import pytest

from airgapbuild.credentials import ANONYMOUS, Credential
from airgapbuild.errors import RegistryError
from airgapbuild.oci.content import DOCKER_MANIFEST, Descriptor
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.reference import Reference, parse_reference
from airgapbuild.progress import SILENT
from airgapbuild.registry import RegistrySource, Retries, Timeouts
from tests.integration.faults import Reply, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airgapbuild.credentials import Credentials
    from airgapbuild.manifest import RegistrySettings
    from airgapbuild.progress import Task

AT_ONCE = Retries(sleep=lambda _: None)
PATIENT = Timeouts(connect=20, read=20, retries=AT_ONCE)
IMPATIENT = Timeouts(connect=0.2, read=0.2, retries=AT_ONCE)
BLOB = b"layer " * 50_000
LAYER = Descriptor(media_type="layer", digest=digest_of(BLOB), size=len(BLOB))
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST}).encode()
GOOD = Reply(body=MANIFEST, headers={"Content-Type": f"{DOCKER_MANIFEST}; charset=utf-8"})
DOCUMENT = "/v2/app/manifests/1"
BLOB_PATH = f"/v2/app/blobs/{LAYER.digest}"
ALICE = Credential("alice", "correct horse")
PROXY_USER = ("bob", "battery-staple")


class Notes:
    """A listener that keeps what a user, and a curious one, would read."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.details: list[str] = []

    def task(self, label: str, total: int | None = None) -> Task:
        return SILENT.task(label, total)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def detail(self, message: str) -> None:
        self.details.append(message)


class Addressed(Protocol):
    """What has an address: a scripted server, a real registry."""

    address: str


class Open(Protocol):
    """Makes a source that is closed after the test."""

    def __call__(
        self,
        settings: Mapping[str, RegistrySettings] | None = None,
        credentials: Credentials = ANONYMOUS,
        progress: Notes | None = None,
        environ: Mapping[str, str] | None = None,
        timeouts: Timeouts = PATIENT,
    ) -> RegistrySource: ...


def app(server: Server, tag: str = ":1") -> Reference:
    return parse_reference(f"{server.address}/app{tag}")


def read(source: RegistrySource, reference: Reference, descriptor: Descriptor = LAYER) -> bytes:
    return b"".join(source.blob(reference, descriptor))


def refused(source: RegistrySource, reference: Reference) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        source.manifest(reference)
    return caught.value


def login(credential: Credential, *hosts: Addressed) -> Credentials:
    addresses = {host.address for host in hosts}
    return lambda host, _: credential if host in addresses else None
