"""A reader of bundles, written from docs/en/format-*.md alone, without airgapbuild."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import zstandard

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
RAW_LAYER = "application/vnd.oci.image.layer.v1.tar"
DEFAULTS = {"daemon": False, "tags": [], "attestations": True, "referrer": []}


def digest(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def compact_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def meaning(value: object) -> str:
    return digest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def checksum(image: dict[str, Any]) -> str:
    told = {key: it for key, it in image.items() if it != DEFAULTS.get(key, ...)}
    del told["checksum"]
    told["platform"] = [{k: it[k] for k in it if it[k] != []} for it in image["platform"]]
    return meaning(told)


def decoded(frames: bytes) -> bytes:
    out = []
    while frames:
        assert frames.startswith(bytes.fromhex("28B52FFD"))
        frame = zstandard.ZstdDecompressor(max_window_size=128 * MIB).decompressobj()
        out.append(frame.decompress(frames))
        assert frame.eof
        frames = frame.unused_data
    return b"".join(out)


class Bundle:
    """A folder, proven up to the sums of its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        sums = self._sums()
        self.index = json.loads(self._proven("bundle.json", sums))
        assert self.index["version"] == 1
        raw_lock = self._proven("airgapbuild.lock", sums)
        assert digest(raw_lock) == self.index["lock"]
        self.lock = tomllib.loads(raw_lock.decode())
        assert self.lock["version"] == 1
        assert all(image["checksum"] == checksum(image) for image in self.lock["image"])
        parts = [part for file in self.index["files"] for part in file.get("parts", [file])]
        told = {part["name"]: part["sha256"] for part in parts}
        assert sums == {**told, "bundle.json": sums["bundle.json"]}
        besides = {"SHA256SUMS", "SHA256SUMS.sig"}
        assert {path.name for path in folder.iterdir()} - besides == set(sums)
        for part in parts:
            assert len(self._proven(part["name"], sums)) == part["size"]

    def images(self) -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, bytes]]]:
        """Of each image and platform the manifest and all blobs, by digest; each is proven."""
        return {
            (image["name"], locked["platform"]): self._image(image, locked)
            for image in self.lock["image"]
            for locked in image["platform"]
        }

    def file(self, image: dict[str, Any], locked: dict[str, Any]) -> dict[str, Any]:
        """What bundle.json says of a tarball."""
        tag = re.search(r":([^:/@]+)(@|$)", image["ref"])
        version = tag[1] if tag else f"sha256-{image['digest'][7:19]}"
        name = f"{image['name']}_{version}_{locked['platform'].replace('/', '-')}.oci.tar.zst"
        [file] = [file for file in self.index["files"] if file["name"] == name]
        assert (file["image"], file["platform"]) == (image["name"], locked["platform"])
        return dict(file)

    def whole(self, file: dict[str, Any]) -> bytes:
        """A file, its parts one after another."""
        parts = [part["name"] for part in file.get("parts", [file])]
        whole = b"".join((self.folder / part).read_bytes() for part in parts)
        assert (len(whole), digest(whole)) == (file["size"], f"sha256:{file['sha256']}")
        return whole

    def content(self, frames: bytes, blob: dict[str, Any]) -> bytes:
        """What the frames of a blob hold of it."""
        start = blob.get("start")
        return decoded(frames)[start : start + blob["size"] if start else None]

    def _sums(self) -> dict[str, str]:
        *lines, rest = (self.folder / "SHA256SUMS").read_bytes().decode("ascii").split("\n")
        assert [*lines, rest] == [*sorted(lines, key=lambda line: line[66:]), ""]
        assert all(re.fullmatch("[0-9a-f]{64}  [A-Za-z0-9][A-Za-z0-9._-]*", it) for it in lines)
        return {line[66:]: line[:64] for line in lines}

    def _proven(self, name: str, sums: dict[str, str]) -> bytes:
        path = self.folder / name
        assert not path.is_symlink()
        raw = path.read_bytes()
        assert digest(raw) == f"sha256:{sums[name]}"
        return raw

    def _image(
        self, image: dict[str, Any], locked: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        file = self.file(image, locked)
        whole = self.whole(file)
        blobs = {blob["digest"]: self._blob(whole, blob) for blob in file["blobs"]}
        top, raw = blobs[image["digest"]], blobs[locked["manifest"]]
        assert (len(top), len(raw)) == (image["size"], locked["manifest-size"])
        if image["media-type"] == INDEX:
            entries = {entry["digest"] for entry in json.loads(top)["manifests"]}
            assert {locked["manifest"], *locked.get("attestations", ())} <= entries
        manifest = json.loads(raw)
        assert manifest["config"]["digest"] == locked["config"]
        assert sum(layer["size"] for layer in manifest["layers"]) == locked["layers-size"]
        diff_ids = json.loads(blobs[locked["config"]])["rootfs"]["diff_ids"]
        assert len(diff_ids) == len(manifest["layers"])
        if self.index.get("layers") == "compact":
            sizes = {it["digest"]: it["size"] for it in (*file["blobs"], *file.get("requires", ()))}
            pairs = list(zip(diff_ids, manifest["layers"], strict=True))
            assert all(sizes[it] <= 1032 * layer["size"] for it, layer in pairs)
            raws = [{"mediaType": RAW_LAYER, "digest": it, "size": sizes[it]} for it in diff_ids]
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {**manifest["config"], "mediaType": CONFIG},
                "layers": raws,
                "annotations": {"airgapbuild.derived-from": image["digest"]},
            }
            assert blobs[digest(compact_json(manifest))] == compact_json(manifest)
        required = {it["digest"] for it in file.get("requires", ())}
        assert {layer["digest"] for layer in manifest["layers"]} <= blobs.keys() | required
        assert not required & blobs.keys()
        return manifest, blobs

    def _blob(self, whole: bytes, blob: dict[str, Any]) -> bytes:
        frames = whole[blob["offset"] : blob["offset"] + blob["length"]]
        content = self.content(frames, blob)
        assert (digest(content), len(content)) == (blob["digest"], blob["size"])
        return content
