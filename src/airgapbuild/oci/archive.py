"""One platform of an image as a tar: an OCI image layout and a docker-archive in one.

The classic image store reads `manifest.json` and ignores the rest; the containerd store sees
`oci-layout` and reads `index.json`. Both find the same blobs. The members, in this order::

    oci-layout  index.json  manifest.json
    blobs/sha256/<index>  <manifest>  <config>  <attestation manifests>  <referrers>
    blobs/sha256/<their blobs>  <the layers>                    each smallest first

The largest comes last because a file's sum is taken in the file's order: of blobs that are fetched
side by side, the largest is whole last. Referrers, and what a derived image comes from, lie beside
the image as blobs only, found by the lock: what index.json lists, the containerd store takes for an
image to unpack.

Regular files only, each once, mode 0644, owner 0, time 0, in the POSIX ustar form (sizes of 8 GiB
and more in GNU's base-256), so that the same image is the same bytes everywhere.

Source: OCI image specification v1.1, image-layout.md; moby daemon/internal/image/tarexport/load.go;
containerd core/images/archive/importer.go; POSIX.1-2001 pax, "ustar Interchange Format".
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airgapbuild.errors import BundleError
from airgapbuild.oci.content import OCI_INDEX
from airgapbuild.oci.digest import Digest, encoded
from airgapbuild.oci.layout import IMAGE_NAME, LAYOUT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""The two zero blocks after the last member."""

_REF_NAME = "org.opencontainers.image.ref.name"
_HEAD_NAMES = frozenset({"oci-layout", "index.json", "manifest.json"})
_BLOB_NAME = re.compile(r"blobs/sha256/([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Member:
    """A file of the tar: its bytes, or the descriptor of the blob that is to be read for it."""

    name: str
    size: int
    data: bytes | None = None
    blob: Descriptor | None = None

    @property
    def header(self) -> bytes:
        """The 512 bytes before the content."""
        info = tarfile.TarInfo(self.name)
        info.size = self.size
        info.mode = 0o644
        return info.tobuf(tarfile.GNU_FORMAT)

    @property
    def padding(self) -> bytes:
        """The zero bytes after the content."""
        return bytes(-self.size % BLOCK)


def archive_members(
    image: PlatformImage,
    names: tuple[Reference, ...],
    *,
    wanted: Callable[[Descriptor], bool] = lambda _: True,
) -> list[Member]:
    """The members of an image's tar, by which it gets all of `names`.

    `wanted` tells which blobs (never documents) go into it; the others stay named, and whoever
    loads the tar must have them.
    """
    head = [
        _in_hand("oci-layout", LAYOUT_FILE),
        _in_hand("index.json", _index_json(image, names)),
        _in_hand("manifest.json", _manifest_json(image, names)),
    ]
    documents = [
        _in_hand(_blob_name(document.descriptor.digest), document.raw)
        for document in image.documents
    ]
    blobs = [
        Member(_blob_name(blob.digest), blob.size, blob=blob)
        for blob in image.blobs
        if wanted(blob)
    ]
    return head + documents + blobs


def archive_size(members: Iterable[Member]) -> int:
    """The size of the tar of these members, in bytes."""
    return sum(BLOCK + member.size + len(member.padding) for member in members) + len(END)


def archive_chunks(
    members: Iterable[Member], read: Callable[[Descriptor], Iterator[bytes]]
) -> Iterator[bytes]:
    """The bytes of the tar, blobs read as they come up."""
    yield from member_chunks(members, read)
    yield END


def member_chunks(
    members: Iterable[Member], read: Callable[[Descriptor], Iterator[bytes]]
) -> Iterator[bytes]:
    """The same without the tar's end."""
    for member in members:
        yield member.header
        if member.data is not None:
            yield member.data
        elif member.blob is not None:
            yield from read(member.blob)
        if member.padding:
            yield member.padding


def parse_header(block: bytes) -> Member:
    """The member that a header announces.

    Raises:
        BundleError: it is no header, or one of something that has no place here: a link, a
            folder, a sparse or extended header, another name than those of the module's list.
    """
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise BundleError(f"not a tar header: {error}") from error
    if info.type != tarfile.REGTYPE:
        raise BundleError(f"member '{info.name}': not a regular file")
    if info.size < 0:
        raise BundleError(f"member '{info.name}': negative size")
    if info.name not in _HEAD_NAMES and not _BLOB_NAME.fullmatch(info.name):
        raise BundleError(f"member '{info.name}': has no place in an image archive")
    return Member(info.name, info.size)


def blob_digest(name: str) -> Digest | None:
    """The digest that a file's name in an OCI layout promises; None for what is no blob."""
    match = _BLOB_NAME.fullmatch(name)
    return Digest(f"sha256:{match[1]}") if match else None


def _in_hand(name: str, data: bytes) -> Member:
    return Member(name, len(data), data=data)


def _blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{encoded(digest)}"


def _index_json(image: PlatformImage, names: tuple[Reference, ...]) -> bytes:
    """One descriptor for each name: that is how several names come with one load."""
    top = image.top.descriptor
    plain = {"mediaType": top.media_type, "digest": top.digest, "size": top.size}
    named: list[dict[str, Any]] = [
        {**plain, "annotations": {IMAGE_NAME: str(name), _REF_NAME: name.tag}} for name in names
    ]
    return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": named or [plain]})


def _manifest_json(image: PlatformImage, names: tuple[Reference, ...]) -> bytes:
    entry = {
        "Config": _blob_name(image.config.descriptor.digest),
        "RepoTags": [name.familiar for name in names],
        "Layers": [_blob_name(layer.digest) for layer in image.layers],
    }
    return _json([entry])


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
