"""An image of one gigabyte that nothing can compress, the same on every machine."""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from tests.engines.layout import Image, PlatformImage, blob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYERS_MB = (300, 200, 150, 100, 80, 60, 40, 30, 20, 10, 6, 4)
"""The sizes of its layers: as mixed as real ones, so that no tool can just split the work."""

REPOSITORY, TAG, PLATFORM = "bench/big", "1", "linux/amd64"

_MB = 1_000_000
_OCI = "application/vnd.oci.image"


def big_image(layout: Path, sizes: tuple[int, ...] = LAYERS_MB) -> Image:
    """Write the blobs of the image into a layout; what it is."""
    (layout / "blobs/sha256").mkdir(parents=True)
    layers, diff_ids = [], []
    for number, size in enumerate(sizes):
        layer, diff_id = _layer(layout, number, size * _MB)
        layers.append({"mediaType": f"{_OCI}.layer.v1.tar+gzip", **layer})
        diff_ids.append(diff_id)
    config = _json(
        layout,
        f"{_OCI}.config.v1+json",
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        },
    )
    manifest = _document(layout, "manifest", {"config": config, "layers": layers})
    entry = {**manifest, "platform": {"architecture": "amd64", "os": "linux"}}
    index = _document(layout, "index", {"manifests": [entry]})
    platform = PlatformImage(manifest["digest"], config["digest"])
    return Image(REPOSITORY, TAG, index["digest"], {PLATFORM: platform})


def _layer(layout: Path, number: int, size: int) -> tuple[dict[str, Any], str]:
    """Write a layer of one file; its descriptor, and the digest of its tar."""
    path = layout / "blobs/layer"
    plain, packed, length = hashlib.sha256(), hashlib.sha256(), 0
    deflate = zlib.compressobj(0, wbits=31)  # gzip of stored blocks: it is random anyway
    with path.open("wb") as file:
        for chunk in _tar(number, size):
            plain.update(chunk)
            length += _put(file, packed, deflate.compress(chunk))
        length += _put(file, packed, deflate.flush())
    digest = f"sha256:{packed.hexdigest()}"
    path.rename(blob(layout, digest))
    return {"digest": digest, "size": length}, f"sha256:{plain.hexdigest()}"


def _tar(number: int, size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo(f"file-{number}")
    info.size = size
    yield info.tobuf(tarfile.GNU_FORMAT)
    bytes_ = random.Random(number)
    for start in range(0, size, _MB):
        yield bytes_.randbytes(min(_MB, size - start))
    yield bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _put(file: IO[bytes], hasher: hashlib._Hash, chunk: bytes) -> int:
    hasher.update(chunk)
    return file.write(chunk)


def _document(layout: Path, kind: str, fields: dict[str, object]) -> dict[str, Any]:
    media_type = f"{_OCI}.{kind}.v1+json"
    return _json(layout, media_type, {"schemaVersion": 2, "mediaType": media_type, **fields})


def _json(layout: Path, media_type: str, document: dict[str, object]) -> dict[str, Any]:
    raw = json.dumps(document).encode()
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    blob(layout, digest).write_bytes(raw)
    return {"mediaType": media_type, "digest": digest, "size": len(raw)}
