"""The formats are what docs/en/format-*.md say: who reads those alone reads what is made."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from airgapbuild.bundle.packaging import Packaging
from tests.support.format_reader import (
    INDEX,
    MIB,
    Bundle,
    compact_json,
    decoded,
    digest,
    meaning,
)
from tests.support.project import Project

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGES = Path(__file__).parents[2] / "docs"
TEXT = """
version = 1
name = "b"
platforms = ["linux/x86_64", "linux/arm64/v8"]
[images.kit]
ref = "moby/kit:1"
role = "builder"
tags = ["moby/kit:stable", "moby/kit-x:1"]
[images.base]
ref = "registry.corp.example:5000/base"
daemon = true
tags = ["index.docker.io/base:1"]
platforms = ["linux/arm"]
[builder]
name = "airgap"
image = "kit"
"""
FORMS = {
    "exact": Packaging(),
    "parts": Packaging(part_size=MIB),
    "compact": Packaging(layers="compact", level=1),
    "compact parts": Packaging(layers="compact", level=1, part_size=MIB),
}
ALIASES = {"x86_64": "amd64", "arm64/v8": "arm64", "arm": "arm/v7"}


class Differential(Bundle):
    """One that tells layers by older ones, which are here."""

    def __init__(self, folder: Path, older: Mapping[str, bytes]) -> None:
        super().__init__(folder)
        self.older = older

    def content(self, frames: bytes, blob: dict[str, Any]) -> bytes:
        if "reference" not in blob:
            return super().content(frames, blob)
        older, size = self.older[blob["reference"]], blob["size"]
        pieces = []
        for start in range(0, size, 32 * MIB):
            place = start * len(older) // size
            known = older[max(0, place - 16 * MIB) : place + 48 * MIB]
            dictionary = zstandard.ZstdCompressionDict(known, zstandard.DICT_TYPE_RAWCONTENT)
            decoder = zstandard.ZstdDecompressor(dictionary, max_window_size=32 * MIB)
            piece = decoder.decompressobj()
            pieces.append(piece.decompress(frames))
            frames = piece.unused_data
            assert len(pieces[-1]) == min(32 * MIB, size - start)
        assert not frames
        return b"".join(pieces)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Bundles of the second version; of the first `old` and, with raw layers, `older`."""
    project = Project(tmp_path_factory.mktemp("project"), TEXT)
    shared = random.Random(1).randbytes(2_300_000)
    push(project, shared, b"old" * 50_000)
    for name, form in (("old", "exact"), ("older", "compact")):
        project.export(name, packaging=FORMS[form])
    push(project, shared, b"old" * 49_000 + b"new")
    for name, packaging in FORMS.items():
        project.export(name, packaging=packaging)
    project.export("differential", project.folder / "old")
    project.export("told", project.folder / "older", packaging=FORMS["compact"])
    return project


def push(project: Project, *layers: bytes) -> None:
    source = project.source
    kit = source.publish("moby/kit:1", "linux/amd64", "linux/arm64", layers=layers)
    source.publish("registry.corp.example:5000/base", "linux/arm/v7", layers=layers, index=False)
    source.attach("moby/kit", kit.descriptor.digest, b"signature")


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_is_read_by_the_page_alone(form: str, project: Project) -> None:
    bundle = Bundle(project.folder / form)
    images = bundle.images()
    assert [*images] == [
        ("base", "linux/arm/v7"),
        ("kit", "linux/amd64"),
        ("kit", "linux/arm64"),
    ]
    for (name, platform), (manifest, blobs) in images.items():
        assert len([blobs[layer["digest"]] for layer in manifest["layers"]]) == 2
        check_tar(bundle, name, platform, manifest, blobs)


def test_what_a_differential_leaves_out_is_in_the_older_bundle(project: Project) -> None:
    old = Bundle(project.folder / "old").images()
    bundle = Bundle(project.folder / "differential")
    for (name, platform), (manifest, blobs) in bundle.images().items():
        lowest, top = (layer["digest"] for layer in manifest["layers"])
        assert lowest in old[name, platform][1].keys() - blobs.keys()
        assert top in blobs
        check_tar(bundle, name, platform, manifest, blobs)


def test_a_layer_told_by_an_older_one_is_read_by_the_page_alone(project: Project) -> None:
    images = Bundle(project.folder / "older").images().values()
    older = {it: blob for _, blobs in images for it, blob in blobs.items()}
    bundle = Differential(project.folder / "told", older)
    told = [blob for file in bundle.index["files"] for blob in file.get("blobs", ())]
    assert any("reference" in blob for blob in told)
    for (name, platform), (manifest, blobs) in bundle.images().items():
        check_tar(bundle, name, platform, manifest, blobs)


@pytest.mark.parametrize("form", ["parts", "compact"])
def test_the_reader_proves_each_file(form: str, project: Project, tmp_path: Path) -> None:
    folder = shutil.copytree(project.folder / form, tmp_path / "b")
    for path in folder.iterdir():
        raw = path.read_bytes()
        path.write_bytes(raw[:-2] + bytes([raw[-2] ^ 1]) + raw[-1:])
        with pytest.raises((AssertionError, KeyError, ValueError)):
            Bundle(folder)
        path.write_bytes(raw)
    assert Bundle(folder).images()


def check_tar(
    bundle: Bundle, name: str, platform: str, manifest: dict[str, Any], blobs: dict[str, bytes]
) -> None:
    """The tar in a tarball has the members of the page, in its order and with its headers."""
    [image] = [image for image in bundle.lock["image"] if image["name"] == name]
    [locked] = [locked for locked in image["platform"] if locked["platform"] == platform]
    file = bundle.file(image, locked)
    tar = tar_of(bundle, file, blobs)
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as opened:
        members = opened.getmembers()
    assert {(it.type, it.mode, it.uid, it.gid, it.mtime, it.uname) for it in members} == {
        (tarfile.REGTYPE, 0o644, 0, 0, 0, "")
    }
    found = [tar[it.offset_data : it.offset_data + it.size] for it in members]
    last = members[-1]
    assert tar[last.offset_data + last.size :] == bytes(-last.size % 512 + 1024)
    documents = documents_of(bundle, image, locked, manifest)
    wanted = [*documents, *blobs_of(image, locked, manifest, documents, file, blobs)]
    assert [it.name for it in members[3:]] == [f"blobs/sha256/{it[7:]}" for it in wanted]
    assert found[3:] == [blobs[it] for it in wanted]
    assert blobs.keys() == set(wanted)
    check_head(image, documents[0], manifest, found[:3], blobs)


def tar_of(bundle: Bundle, file: dict[str, Any], blobs: dict[str, bytes]) -> bytes:
    whole, out, at = bundle.whole(file), [], 0
    for blob in sorted(file["blobs"], key=lambda it: (it["offset"], it.get("start", 0))):
        if blob["offset"] >= at:  # else it is in the frames of the one before
            out.append(decoded(whole[at : blob["offset"]]))
            at = blob["offset"] + blob["length"]
            frames = whole[blob["offset"] : at]
            out.append(blobs[blob["digest"]] if "reference" in blob else decoded(frames))
            if bundle.index.get("layers") is None:
                assert len(frames) == stored_length(blob["size"])
                assert frames.startswith(bytes.fromhex("28B52FFDA0"))
    return b"".join([*out, decoded(whole[at:])])


def stored_length(size: int) -> int:
    frames = [min(4194304, size - at) for at in range(0, size, 4194304)]
    return sum(9 + 3 * -(-frame // 131072) + frame for frame in frames)


def documents_of(
    bundle: Bundle, image: dict[str, Any], locked: dict[str, Any], manifest: dict[str, Any]
) -> list[str]:
    upstream = [image["digest"], locked["manifest"]]
    subject = [it["digest"] for it in image.get("referrer", ()) if it["subject"] in upstream]
    evidence = [*locked.get("attestations", ()), *subject]
    own = [*upstream, locked["config"]]
    if bundle.index.get("layers"):
        own = [digest(compact_json(manifest)), locked["config"], *upstream]
    return list(dict.fromkeys([*own, *evidence]))


def blobs_of(
    image: dict[str, Any],
    locked: dict[str, Any],
    manifest: dict[str, Any],
    documents: list[str],
    file: dict[str, Any],
    blobs: dict[str, bytes],
) -> list[str]:
    evidence = {
        *locked.get("attestations", ()),
        *(it["digest"] for it in image.get("referrer", ())),
    }
    named = [json.loads(blobs[it]) for it in documents if it in evidence]
    layers = {it["digest"]: it["size"] for it in manifest["layers"]}
    others = {
        it["digest"]: it["size"]
        for each in named
        for it in (each["config"], *each["layers"])
        if it["digest"] not in layers
    }
    left_out = {*documents, *(it["digest"] for it in file.get("requires", ()))}
    groups = [sorted(group, key=lambda it: (group[it], it)) for group in (others, layers)]
    return [it for group in groups for it in group if it not in left_out]


def check_head(
    image: dict[str, Any],
    top: str,
    manifest: dict[str, Any],
    head: list[bytes],
    blobs: dict[str, bytes],
) -> None:
    layout, index, legacy = head
    assert layout == b'{"imageLayoutVersion":"1.0.0"}'
    names = [image["ref"], *image["tags"]]
    if image["role"] == "builder":
        names.append("127.0.0.1:1/airgapbuild/" + image["ref"].partition("/")[2])
    media_type = json.loads(blobs[top])["mediaType"]
    entries = [
        {
            "mediaType": media_type,
            "digest": top,
            "size": len(blobs[top]),
            "annotations": {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        }
        for name in names
    ]
    assert index == compact_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    short = [re.sub("^docker.io/(library/)?", "", name) for name in names]
    lowest_first = [f"blobs/sha256/{it['digest'][7:]}" for it in manifest["layers"]]
    config = f"blobs/sha256/{manifest['config']['digest'][7:]}"
    assert legacy == compact_json([{"Config": config, "RepoTags": short, "Layers": lowest_first}])


def test_entry_is_computed_from_the_manifest_by_the_page_alone(project: Project) -> None:
    manifest = tomllib.loads(TEXT)
    lock = tomllib.loads((project.folder / "exact" / "airgapbuild.lock").read_text())
    for image in lock["image"]:
        entry = manifest["images"][image["name"]]
        value = {
            "ref": full_form(entry["ref"]),
            "role": entry.get("role", "base"),
            "tags": sorted(map(full_form, entry["tags"])),
            "platforms": sorted(map(platform, entry.get("platforms", manifest["platforms"]))),
            "attestations": True,
        }
        if entry.get("daemon"):
            value["daemon"] = True
        assert meaning(value) == image["entry"]


def full_form(text: str) -> str:
    first, slash, rest = text.partition("/")
    registry, path = ("docker.io", text)
    if slash and (set(first) & set(".:") or first == "localhost"):
        registry, path = (first.replace("index.docker.io", "docker.io"), rest)
    if registry == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{registry}/{path}" if ":" in path else f"{registry}/{path}:latest"


def platform(text: str) -> str:
    os, _, architecture = text.partition("/")
    return f"{os}/{ALIASES.get(architecture, architecture)}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_example_of_an_entry_has_the_digest_that_the_page_says(language: str) -> None:
    text = (PAGES / language / "format-manifest-lock.md").read_text()
    found = re.search(r"```json\n(\{\n  \"ref\".*?)```.*?```text\n(sha256:\w+)\n", text, re.DOTALL)
    assert found
    assert meaning(json.loads(found[1])) == found[2]
