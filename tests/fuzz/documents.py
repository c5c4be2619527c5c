"""Targets: chains of documents whose digests fit, and what a daemon saves.

An input is the documents, one after the other, with a zero byte between them. Where one names a
later one, it says `@2@` for the digest of the third and `"#2#"` for its size, which are put in
last: so whatever an input does to a document, what leads to it still does.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airgapbuild.bundle.head import read_head
from airgapbuild.engine.saved import save
from airgapbuild.errors import AirgapbuildError, BundleError
from airgapbuild.lockfile import LockedImage, LockedPlatform
from airgapbuild.oci.archive import END, Member, archive_members
from airgapbuild.oci.content import (
    OCI_INDEX,
    OCI_MANIFEST,
    Content,
    Descriptor,
    content,
    media_type_of,
    parse_config,
    parse_index,
    parse_layout_index,
    parse_manifest,
    parse_referrers,
)
from airgapbuild.oci.digest import Digest, digest_of, verified
from airgapbuild.oci.local import LayoutSource
from airgapbuild.oci.platform import parse_platform
from airgapbuild.oci.reference import Reference, parse_reference
from airgapbuild.pins import read_pinned
from tests.fuzz.target import JSON_WORDS, Target, scratch
from tests.fuzz.tars import with_sums
from tests.support.forgery import stored
from tests.support.memory import CONFIG, IN_TOTO, LAYER

if TYPE_CHECKING:
    from airgapbuild.engine.daemon import Daemon

_scratch = cache(scratch)
_REFERENCE = parse_reference("tool:1")
_ANY = digest_of(b"")
_AMD = {"os": "linux", "architecture": "amd64"}


def _named(number: int, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"@{number}@", "size": f"#{number}#", **more}


def _layer(media_type: str = LAYER) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _ANY, "size": 0}


def _manifest(config: dict[str, object], *layers: dict[str, object]) -> dict[str, object]:
    plain = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    return {**plain, "config": config, "layers": layers}


def _index(*entries: dict[str, object]) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


_ATTESTS = {
    "vnd.docker.reference.type": "attestation-manifest",
    "vnd.docker.reference.digest": "@2@",
}
_CHAIN: tuple[object, ...] = (
    _index(
        _named(2, OCI_MANIFEST, platform=_AMD),
        _named(1, OCI_MANIFEST, annotations=_ATTESTS),
    ),
    _manifest(_layer(CONFIG), _layer(IN_TOTO)),
    _manifest(_named(3, CONFIG), _layer()),
    {**_AMD, "config": {}, "rootfs": {"type": "layers", "diff_ids": [_ANY]}},
)
"""Index, attestation, manifest, config."""


def _joined(*documents: object) -> bytes:
    return b"\0".join(json.dumps(document).encode() for document in documents)


def _parted(data: bytes) -> list[bytes]:
    """The documents of an input, digests and sizes put in."""
    parts = data.split(b"\0", 7)
    for number in range(len(parts) - 1, -1, -1):
        for later in range(number + 1, len(parts)):
            digest, size = digest_of(parts[later]).encode(), b"%d" % len(parts[later])
            parts[number] = (
                parts[number].replace(b"@%d@" % later, digest).replace(b'"#%d#"' % later, size)
            )
    return parts


@dataclass(frozen=True)
class _Source:
    """Implements `Source` for documents in memory."""

    documents: dict[Digest, bytes]

    def manifest(self, reference: Reference) -> Content:
        raw = self._raw(reference.digest)
        return content(raw, media_type_of(raw))

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        del reference
        raw = self._raw(descriptor.digest)
        return verified([raw], descriptor.digest, descriptor.size, "blob")

    def _raw(self, digest: Digest | None) -> bytes:
        if digest in self.documents:
            return self.documents[digest]
        raise BundleError(f"no {digest}")


def _chain(data: bytes) -> None:
    """What a lock leads to that pins exactly these documents."""
    parts = [*_parted(data), b"", b"", b""]
    index, attestation, manifest, config = parts[:4]
    layers = 0
    with suppress(AirgapbuildError):
        found = parse_manifest(content(manifest, media_type_of(manifest)), "manifest")
        layers = sum(layer.size for layer in found.layers)
    locked = LockedPlatform(
        platform=parse_platform("linux/amd64"),
        manifest=digest_of(manifest),
        manifest_size=len(manifest),
        config=digest_of(config),
        layers_size=layers,
        attestations=(digest_of(attestation),),
    )
    image = LockedImage(
        name="tool",
        ref=_REFERENCE,
        role="tool",
        media_type=media_type_of(index),
        digest=digest_of(index),
        size=len(index),
        entry=_ANY,
        platform=(locked,),
        checksum=_ANY,
    ).seal()
    source = _Source({digest_of(part): part for part in parts})
    documents = read_pinned(source, image, locked)
    assert documents.top.raw == index
    assert documents.parsed_config.diff_ids is not None
    for member in archive_members(documents, image.names):
        assert member.size >= 0
        assert len(member.header) == 512


def _alone(data: bytes) -> None:
    """Each document by each parser."""
    for raw in _parted(data):
        for parse in (parse_index, parse_manifest, parse_referrers):
            for media_type in (OCI_INDEX, OCI_MANIFEST):
                with suppress(AirgapbuildError):
                    parse(content(raw, media_type), "x")
        for read in (parse_config, parse_layout_index):
            with suppress(AirgapbuildError):
                read(raw, "x")


def _member(name: str, data: bytes) -> bytes:
    member = Member(name, len(data))
    return member.header + data + member.padding


def _tar(data: bytes) -> bytes:
    """A tar of the documents, the first as index.json."""
    head, *rest = _parted(data)
    blobs = (_member(f"blobs/sha256/{digest_of(raw)[7:]}", raw) for raw in rest)
    return _member("index.json", head) + b"".join(blobs) + END


def _headed(data: bytes) -> None:
    path = _scratch() / "head"
    path.write_bytes(stored(_tar(data)))
    names, documents = read_head(path)
    assert all(names)
    assert documents.parsed_config.platform is not None


@dataclass(frozen=True)
class _Saving:
    """As much of a daemon as saving an image asks."""

    tar: bytes
    version: str = "28.5.2"

    def image(self, name: str) -> object:
        return name

    def save(self, name: str) -> Iterator[bytes]:
        del name
        yield from (self.tar[at : at + 1000] for at in range(0, len(self.tar), 1000))


def _saved(tar: bytes) -> None:
    """The first image is read from what the daemon saves, document by document."""
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        save(cast("Daemon", _Saving(tar)), "tool:1", Path(folder))
        source = LayoutSource(Path(folder))
        top = source.manifest(Reference("", folder, None, None, "oci-layout"))
        for descriptor in parse_layout_index(Path(folder, "index.json").read_bytes(), "x"):
            with suppress(AirgapbuildError):
                b"".join(source.blob(_REFERENCE, descriptor))
        source.referrers(_REFERENCE, top.descriptor.digest)


def targets() -> tuple[Target, ...]:
    chain = _joined(*_CHAIN)
    numbered = chain
    for n in (3, 2, 1):
        numbered = numbered.replace(b"@%d@" % n, b"@%d@" % (n + 1)).replace(
            b"#%d#" % n, b"#%d#" % (n + 1)
        )
    top = _named(1, OCI_INDEX, annotations={"io.containerd.image.name": "docker.io/library/tool:1"})
    headed = _joined(_index(top)) + b"\0" + numbered
    words = (*JSON_WORDS, b"@1@", b"@2@", b"@3@", b'"#1#"', b"\0")
    tar = _tar(headed)

    def saved_documents(data: bytes) -> None:
        _saved(_tar(data))

    def saved_tar(data: bytes) -> None:
        _saved(with_sums(data))

    return (
        Target("chain", _chain, (chain,), inputs=60_000, words=words),
        Target("alone", _alone, (chain,), inputs=40_000, words=words),
        Target("headed", _headed, (headed,), inputs=40_000, words=words),
        Target("saved", saved_documents, (headed,), inputs=20_000, words=words),
        Target("saved-tar", saved_tar, (tar,), inputs=40_000, words=JSON_WORDS),
    )
