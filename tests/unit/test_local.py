from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.content import OCI_INDEX, OCI_MANIFEST, Content, Descriptor
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.local import LayoutSource
from airgapbuild.oci.reference import parse_source
from airgapbuild.oci.source import read_blob
from airgapbuild.oci.transports import Transports
from tests.support.memory import MemorySource

REF_NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def memory() -> MemorySource:
    return MemorySource()


def write(folder: Path, memory: MemorySource, *entries: dict[str, Any]) -> LayoutSource:
    """A layout with all that a registry in memory has, and an index.json of these entries."""
    layout = Layout(folder)
    for document in memory.manifests.values():
        layout.put(document.descriptor, iter([document.raw]))
    for digest, raw in memory.blobs.items():
        layout.put(Descriptor(media_type="", digest=digest, size=len(raw)), iter([raw]))
    (folder / "index.json").write_text(json.dumps({"manifests": entries}))
    return LayoutSource(folder)


def entry(document: Content, **annotations: str) -> dict[str, Any]:
    its = document.descriptor
    named = {"annotations": annotations} if annotations else {}
    return {"mediaType": its.media_type, "digest": its.digest, "size": its.size, **named}


def test_a_tag_is_found_by_either_name(memory: MemorySource, tmp_path: Path) -> None:
    one, two = memory.publish("one:1", "linux/amd64"), memory.publish("two:1", "linux/arm64")
    by_containerd = {"io.containerd.image.name": "docker.io/library/two:2"}
    source = write(tmp_path, memory, entry(one, **{REF_NAME: "1"}), entry(two, **by_containerd))
    assert source.manifest(parse_source("oci-layout:x:1")) == one
    assert source.manifest(parse_source("oci-layout:x:2")) == two
    assert source.find(parse_source("oci-layout:x:3")) is None
    with pytest.raises(BundleError, match="has no image of this name; its tags: 1, 2") as caught:
        source.manifest(parse_source("oci-layout:x:3"))
    assert caught.value.hint == "write oci-layout:FOLDER:TAG or oci-layout:FOLDER@sha256:…"


def test_without_a_tag_the_only_image_is_meant(memory: MemorySource, tmp_path: Path) -> None:
    one, two = memory.publish("one:1", "linux/amd64"), memory.publish("two:1", "linux/arm64")
    whole = parse_source("oci-layout:x")
    assert write(tmp_path / "a", memory, entry(one)).manifest(whole) == one
    # As oras writes it: parts of an image stand beside it, without a name.
    named = entry(one, **{REF_NAME: "1"})
    assert write(tmp_path / "b", memory, named, entry(two)).manifest(whole) == one
    with pytest.raises(BundleError, match="has 2 images of this name; its tags: none"):
        write(tmp_path / "c", memory, entry(one), entry(two)).manifest(whole)


def test_the_digest_decides_where_there_is_a_tag_too(memory: MemorySource, tmp_path: Path) -> None:
    one = memory.publish("one:1", "linux/amd64")
    source = write(tmp_path, memory)
    reference = parse_source("oci-layout:x:1").with_digest(one.descriptor.digest)
    assert source.manifest(reference) == one


def test_a_layout_tells_what_refers_to_an_image(memory: MemorySource, tmp_path: Path) -> None:
    one = memory.publish("one:1", "linux/amd64")
    subject = one.descriptor.digest
    artifact = memory.attach("one", subject)
    reference = parse_source("oci-layout:x:1")
    beside = write(tmp_path / "a", memory, entry(one), entry(artifact))
    assert beside.referrers(reference, subject) == (artifact.descriptor,)
    assert beside.referrers(reference, artifact.descriptor.digest) == ()
    listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(artifact)]}
    fallback = memory._document(parse_source("one:1"), listed, OCI_INDEX)
    tagged = entry(fallback, **{REF_NAME: subject.replace(":", "-")})
    by_tag = write(tmp_path / "b", memory, entry(one), tagged)
    assert by_tag.referrers(reference, subject) == (artifact.descriptor,)


def test_bytes_of_another_digest_are_refused(memory: MemorySource, tmp_path: Path) -> None:
    one = memory.publish("one:1", "linux/amd64")
    source = write(tmp_path, memory, entry(one))
    reference = parse_source("oci-layout:x")
    digest, raw = next(iter(memory.blobs.items()))
    blob = Descriptor(media_type="", digest=digest, size=len(raw))
    assert read_blob(source, reference, blob) == raw
    for wrong in (digest, one.descriptor.digest):
        Layout(tmp_path).blob_path(wrong).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=digest):
        read_blob(source, reference, blob)
    with pytest.raises(IntegrityError, match=f"expected {one.descriptor.digest}, got sha256:"):
        source.manifest(reference)


def test_what_is_missing_or_no_layout_is_told(memory: MemorySource, tmp_path: Path) -> None:
    one = memory.publish("one:1", "linux/amd64")
    source = write(tmp_path, memory, entry(one))
    reference = parse_source("oci-layout:x")
    gone = Descriptor(media_type="", digest=one.descriptor.digest, size=1)
    Layout(tmp_path).blob_path(gone.digest).unlink()
    with pytest.raises(BundleError, match=f"oci-layout:x: {gone.digest} is not there"):
        source.manifest(reference)
    with pytest.raises(BundleError, match=f"{gone.digest}: No such file or directory"):
        read_blob(source, reference, gone)
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(BundleError, match=r"index\.json: not a JSON object"):
        source.manifest(reference)
    (tmp_path / "index.json").unlink()
    with pytest.raises(BundleError, match=r"index\.json: No such file") as caught:
        source.manifest(reference)
    assert caught.value.hint == "an OCI layout is a folder with index.json and blobs/ in it"


def test_a_huge_document_is_not_read(memory: MemorySource, tmp_path: Path) -> None:
    one = memory.publish("one:1", "linux/amd64")
    source = write(tmp_path, memory, entry(one))
    Layout(tmp_path).blob_path(one.descriptor.digest).write_bytes(bytes((4 << 20) + 1))
    with pytest.raises(BundleError, match="too large for a manifest"):
        source.manifest(parse_source("oci-layout:x"))


def test_each_reference_is_asked_where_its_transport_says(
    memory: MemorySource, tmp_path: Path
) -> None:
    one = memory.publish("one:1", "linux/amd64")
    write(tmp_path / "x", memory, entry(one, **{REF_NAME: "1"}))
    registries, daemon = MemorySource(), MemorySource()
    asked = Transports(registries, daemon, tmp_path)
    assert asked.manifest(parse_source("oci-layout:x:1")) == one
    assert asked.find(parse_source("two:1")) is None
    assert asked.find(parse_source("docker-daemon:two:2")) is None
    assert registries.asked == ["docker.io/library/two:1"]
    assert daemon.asked == ["docker-daemon:docker.io/library/two:2"]


def test_manifests_say_their_type_or_are_ocis(memory: MemorySource, tmp_path: Path) -> None:
    raw = b'{"schemaVersion":2,"config":{},"layers":[]}'
    plain = memory._document(parse_source("one:1"), json.loads(raw), "ignored")
    assert write(tmp_path, memory, entry(plain)).manifest(
        parse_source("oci-layout:x")
    ).descriptor.media_type == (OCI_MANIFEST)
