"""Images in memory on their way into a daemon, and what was read of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airgapbuild.oci.content import (
    OCI_MANIFEST,
    Content,
    Descriptor,
    content,
    parse_index,
    parse_manifest,
)
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.image import PlatformImage
from airgapbuild.oci.reference import Reference, parse_reference
from tests.support.memory import CONFIG, LAYER, MemorySource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.engine.daemon import Daemon, LoadOutcome
    from airgapbuild.oci.digest import Digest


@dataclass
class Shipment:
    """An image in memory, the names that it is to get, and which of its blobs were read."""

    source: MemorySource
    image: PlatformImage
    names: tuple[Reference, ...]
    read: list[Digest] = field(default_factory=list)
    sent: int = 0
    expected: int = 0
    """What the task was told."""

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        self.read.append(descriptor.digest)
        yield from self.source.blob(self.names[0], descriptor)

    def advance(self, size: int) -> None:
        self.sent += size

    def expect(self, total: int) -> None:
        self.expected = total

    def done(self, outcome: str) -> None:
        raise AssertionError("the caller says when a task is done")

    def load(self, into: Daemon, *names: str) -> LoadOutcome:
        self.read, self.sent, self.expected = [], 0, 0
        wanted = tuple(map(parse_reference, names)) or self.names
        outcome = into.load(self.image, wanted, self.chunks, self)
        assert self.sent == self.expected == outcome.sent
        return outcome

    @property
    def layers(self) -> list[Digest]:
        return [layer.digest for layer in self.image.layers]


def payload(size: int = 64 * 1024) -> bytes:
    return os.urandom(size)


def ship(name: str, *layers: bytes, platform: str = "linux/amd64", index: bool = True) -> Shipment:
    source = MemorySource()
    top = source.publish(name, "linux/arm64", platform, layers=layers, index=index)
    reference = parse_reference(name)
    return Shipment(source, pick(source, reference, top, platform), (reference,))


def pick(source: MemorySource, ref: Reference, top: Content, platform: str) -> PlatformImage:
    """The documents of one platform."""

    def get(descriptor: Descriptor) -> Content:
        return source.manifest(ref.with_digest(descriptor.digest))

    if top.descriptor.media_type == OCI_MANIFEST:
        manifest, attestations = top, tuple[Content, ...]()
    else:
        index = parse_index(top, "index")
        manifest = get(next(found for where, found in index.platforms if str(where) == platform))
        attestations = tuple(
            get(entry.descriptor)
            for entry in index.attestations
            if entry.subject == manifest.descriptor.digest
        )
    config = parse_manifest(manifest, "manifest").config
    raw = source.blobs[config.digest]
    return PlatformImage(top, manifest, content(raw, config.media_type), attestations)


def ship_raw(name: str, layers: list[bytes], diff_ids: list[Digest]) -> Shipment:
    """An image of one manifest with layers and diff IDs that need not fit."""
    source = MemorySource()
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Labels": {"salt": os.urandom(8).hex()}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    blobs = [(config, CONFIG), *((layer, LAYER) for layer in layers)]
    descriptors = [content(raw, kind).descriptor for raw, kind in blobs]
    source.blobs |= {digest_of(raw): raw for raw, _ in blobs}
    fields = [json.loads(d.model_dump_json(by_alias=True, exclude_none=True)) for d in descriptors]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": fields[0],
        "layers": fields[1:],
    }
    top = content(json.dumps(document).encode(), OCI_MANIFEST)
    image = PlatformImage(top, top, content(config, CONFIG))
    return Shipment(source, image, (parse_reference(name),))
