"""OCI layouts: joined, turned into a registry's storage or a load stream, and described.

Blobs are linked, never copied, so a part that holds a layout and a storage holds its bytes once.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_NAME = "io.containerd.image.name"
_REFERENCE_TYPE = "vnd.docker.reference.type"


@dataclass(frozen=True)
class PlatformImage:
    """What an image is for one platform."""

    manifest: str
    """The digest of its manifest."""
    config: str
    """The digest of its config, which is its image ID in the classic store."""


@dataclass(frozen=True)
class Image:
    """A tag that the registry of the bed serves."""

    repository: str
    tag: str
    index: str
    """The digest of the index that the tag points at."""
    platforms: dict[str, PlatformImage]
    """By platform, such as `linux/arm64`."""

    @property
    def ref(self) -> str:
        """Return the short name, such as `moby/buildkit:v0.34.2`."""
        return f"{self.repository}:{self.tag}"


def blob(layout: Path, digest: str) -> Path:
    """Return where a layout keeps a blob."""
    algorithm, _, value = digest.partition(":")
    return layout / "blobs" / algorithm / value


def read(layout: Path, digest: str) -> Any:
    """Return a JSON blob."""
    return json.loads(blob(layout, digest).read_bytes())


def describe(layout: Path, repository: str, tag: str, digest: str) -> Image:
    """Read from a layout what an index holds."""
    platforms = {
        "{os}/{architecture}".format(**entry["platform"]): PlatformImage(
            entry["digest"], read(layout, entry["digest"])["config"]["digest"]
        )
        for entry in read(layout, digest)["manifests"]
        if _REFERENCE_TYPE not in entry.get("annotations", {})
    }
    return Image(repository, tag, digest, platforms)


def join(layouts: dict[str, Path], into: Path) -> None:
    """Make one layout of several; each holds one image, which gets the name it stands under."""
    descriptors = []
    for name, layout in layouts.items():
        for source in (layout / "blobs").rglob("*"):
            if source.is_file():
                _link(source, into / source.relative_to(layout))
        (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
        descriptor = {key: entry[key] for key in ("mediaType", "digest", "size")}
        tag = name.rpartition(":")[2]
        names = {IMAGE_NAME: f"docker.io/{name}", "org.opencontainers.image.ref.name": tag}
        descriptors.append({**descriptor, "annotations": names})
    (into / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "manifests": descriptors}
    (into / "index.json").write_text(json.dumps(index))


def store(layout: Path, image: Image, storage: Path) -> None:
    """Put a tag into the storage folder of a distribution registry (its filesystem driver)."""
    base = storage / "docker/registry/v2"
    repository = base / "repositories" / image.repository
    index = read(layout, image.index)
    manifests = [image.index, *(entry["digest"] for entry in index["manifests"])]
    blobs = set()
    for digest in manifests[1:]:
        manifest = read(layout, digest)
        blobs |= {part["digest"] for part in (manifest["config"], *manifest["layers"])}
    for digest in {*manifests, *blobs}:
        algorithm, _, value = digest.partition(":")
        data = base / "blobs" / algorithm / value[:2] / value / "data"
        _link(blob(layout, digest), data)
    for digest in blobs:
        _point(repository / "_layers", digest)
    for digest in manifests:
        _point(repository / "_manifests/revisions", digest)
    tag = repository / "_manifests/tags" / image.tag
    _point(tag / "index", image.index)
    (tag / "current").mkdir()
    (tag / "current/link").write_text(image.index)


def save(layout: Path, image: Image, names: tuple[str, ...], target: Path, platform: str) -> None:
    """Write a tar that `docker load` takes on every engine and in both stores.

    It is an OCI layout and has a manifest.json, both over the same blobs of one platform.
    `names` are full tags, such as `docker.io/moby/buildkit:v0.34.2`.
    """
    platform_image = image.platforms[platform]
    manifest = read(layout, platform_image.manifest)
    layers = [layer["digest"] for layer in manifest["layers"]]
    listed = {
        "Config": _member(platform_image.config),
        "RepoTags": [name.removeprefix("docker.io/") for name in names],
        "Layers": [_member(layer) for layer in layers],
    }
    index: dict[str, Any] = {
        "mediaType": read(layout, image.index)["mediaType"],
        "digest": image.index,
        "size": blob(layout, image.index).stat().st_size,
    }
    descriptors = [{**index, "annotations": {IMAGE_NAME: name}} for name in names]
    with tarfile.open(target, "w") as tar:
        _add(tar, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _add(tar, "index.json", {"schemaVersion": 2, "manifests": descriptors})
        _add(tar, "manifest.json", [listed])
        for digest in (image.index, platform_image.manifest, platform_image.config, *layers):
            tar.add(blob(layout, digest), _member(digest))


def _member(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, content: object) -> None:
    data = json.dumps(content).encode()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _point(folder: Path, digest: str) -> None:
    """Write one of the registry's link files."""
    algorithm, _, value = digest.partition(":")
    link = folder / algorithm / value / "link"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.write_text(digest)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.link(source, target)
