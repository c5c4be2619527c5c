from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.errors import IntegrityError, ManifestError, RegistryError
from airgapbuild.lockfile import render_lock, stale_reasons
from airgapbuild.manifest import Manifest, parse_manifest
from airgapbuild.oci.content import (
    OCI_INDEX,
    OCI_MANIFEST,
    Content,
    Descriptor,
    content,
    parse_index,
)
from airgapbuild.oci.digest import Digest, short
from airgapbuild.oci.referrers import MAX_REFERRERS
from airgapbuild.progress import SILENT
from airgapbuild.resolve import changes, resolve
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Task

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.one]
ref = "one:1"
role = "tool"
[images.two]
ref = "two:1"
role = "tool"
"""


def manifest(text: str = TEXT) -> Manifest:
    return parse_manifest(text.encode(), "airgapbuild.toml", folder=Path())


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    source.publish("one:1", "linux/amd64", "linux/arm64")
    source.publish("two:1", "linux/amd64", layers=(b"two",))
    return source


def test_a_lock_holds_what_the_tag_pointed_at(source: MemorySource) -> None:
    top = source.manifests["docker.io/library/one:1"]
    image = resolve(manifest(), source).image[0]
    assert image.top == top.descriptor
    [locked] = image.platform
    assert str(locked.platform) == "linux/amd64"
    assert len(locked.attestations) == 1


def test_an_image_without_an_index_is_locked_by_its_manifest(source: MemorySource) -> None:
    source.publish("one:1", "linux/amd64", index=False)
    image = resolve(manifest(), source).image[0]
    assert image.digest == image.platform[0].manifest


def test_pins_are_kept_without_asking(source: MemorySource) -> None:
    lock = resolve(manifest(), source)
    source.publish("one:1", "linux/amd64", layers=(b"moved",))
    source.asked.clear()
    again = resolve(manifest(), source, previous=lock)
    assert render_lock(again) == render_lock(lock)
    assert source.asked == []


def test_an_upgrade_asks_for_the_named_images_only(source: MemorySource) -> None:
    lock = resolve(manifest(), source)
    source.publish("one:1", "linux/amd64", layers=(b"moved",))
    source.publish("two:1", "linux/amd64", layers=(b"moved",))
    after = resolve(manifest(), source, previous=lock, upgrade={"one"})
    assert [(change.name, change.kind) for change in changes(lock, after)] == [
        ("one", "moved"),
        ("two", "kept"),
    ]


def test_another_name_or_role_keeps_the_pin(source: MemorySource) -> None:
    lock = resolve(manifest(), source)
    source.publish("one:1", "linux/amd64", layers=(b"moved",))
    text = TEXT.replace(
        'ref = "one:1"\nrole = "tool"', 'ref = "one:1"\nrole = "base"\ntags = ["o:2"]'
    )
    after = resolve(manifest(text), source, previous=lock)
    assert [change.kind for change in changes(lock, after)] == ["changed", "kept"]


def test_another_reference_or_platform_does_not(source: MemorySource) -> None:
    lock = resolve(manifest(), source)
    text = TEXT.replace('ref = "one:1"', 'ref = "one:1"\nplatforms = ["linux/arm64"]')
    after = resolve(manifest(text), source, previous=lock)
    assert [str(p.platform) for p in after.image[0].platform] == ["linux/arm64"]


def test_images_that_come_and_go_are_told(source: MemorySource) -> None:
    lock = resolve(manifest(), source)
    text = TEXT.replace("[images.two]", "[images.three]")
    after = resolve(manifest(text), source, previous=lock)
    assert [(change.name, change.kind) for change in changes(lock, after)] == [
        ("one", "kept"),
        ("three", "added"),
        ("two", "removed"),
    ]


def test_every_platform_that_is_lacking_is_told_with_those_that_there_are(
    source: MemorySource,
) -> None:
    text = TEXT.replace('["linux/amd64"]', '["linux/arm64", "linux/riscv64"]')
    with pytest.raises(ManifestError) as caught:
        resolve(manifest(text), source)
    assert caught.value.lines == (
        "images.one: one:1 has no linux/riscv64; it has linux/amd64, linux/arm64",
        "images.two: two:1 has no linux/arm64; it has linux/amd64",
        "images.two: two:1 has no linux/riscv64; it has linux/amd64",
    )


LEFT_OUT = TEXT.replace("[images.one]", "[bundle]\nattestations = false\n[images.one]")


def top_of(source: MemorySource, name: str) -> Digest:
    return source.manifests[f"docker.io/library/{name}"].descriptor.digest


def test_what_refers_to_the_index_and_to_the_wanted_manifests_is_locked(
    source: MemorySource,
) -> None:
    index = parse_index(source.manifests["docker.io/library/one:1"], "one")
    wanted, other = (descriptor.digest for _, descriptor in index.platforms)
    top = top_of(source, "one:1")
    signed = source.attach("one", top)
    described = source.attach("one", wanted, kind="application/spdx+json")
    source.attach("one", other)
    image = resolve(manifest(), source).image[0]
    assert {(it.digest, it.subject, it.artifact_type) for it in image.referrer} == {
        (signed.descriptor.digest, top, "application/vnd.example.signature"),
        (described.descriptor.digest, wanted, "application/spdx+json"),
    }
    assert {it.digest for it in image.referrers_of(image.platform[0])} == {
        signed.descriptor.digest,
        described.descriptor.digest,
    }


def test_cosigns_tags_of_what_the_reference_points_at_are_locked(source: MemorySource) -> None:
    top = top_of(source, "one:1")
    tags = [f"{top.replace(':', '-')}.{suffix}" for suffix in ("sig", "att")]
    for tag in tags:
        source.attach("one", top, tag.encode(), tag=tag)
    image = resolve(manifest(), source).image[0]
    assert sorted((it.subject, it.tag) for it in image.referrer) == sorted(
        (top, tag) for tag in tags
    )


def test_an_attestation_of_the_index_that_the_registry_lists_too_is_locked_once(
    source: MemorySource,
) -> None:
    index = parse_index(source.manifests["docker.io/library/one:1"], "one")
    subject = index.platforms[0][1].digest
    signed = source.attach("one", subject)
    entry = {**index_entry(signed), "annotations": attests(subject)}
    document = json.loads(source.manifests["docker.io/library/one:1"].raw)
    document["manifests"].append(entry)
    top = content(json.dumps(document).encode(), OCI_INDEX)
    source.manifests["docker.io/library/one:1"] = top
    image = resolve(manifest(), source).image[0]
    assert signed.descriptor.digest in image.platform[0].attestations
    assert image.referrer == ()


def test_what_is_listed_but_refers_to_something_else_is_refused(source: MemorySource) -> None:
    one, two = top_of(source, "one:1"), top_of(source, "two:1")
    source.attached[one] = [source.attach("one", two).descriptor]
    with pytest.raises(IntegrityError, match="does not name it as its subject"):
        resolve(manifest(), source)


def index_entry(document: Content) -> dict[str, object]:
    its = document.descriptor
    return {"mediaType": its.media_type, "digest": its.digest, "size": its.size}


def attests(subject: Digest) -> dict[str, str]:
    return {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": subject,
    }


def test_a_signature_that_came_later_is_found_by_an_upgrade(source: MemorySource) -> None:
    lock = resolve(manifest(), source)
    source.attach("one", top_of(source, "one:1"))
    assert stale_reasons(manifest(), lock) == ()
    assert resolve(manifest(), source, previous=lock) == lock
    after = resolve(manifest(), source, previous=lock, upgrade={"one"})
    assert [change.kind for change in changes(lock, after)] == ["changed", "kept"]
    assert len(after.image[0].referrer) == 1


def test_attestations_can_be_left_out_without_asking_anybody(source: MemorySource) -> None:
    source.attach("one", top_of(source, "one:1"))
    lock = resolve(manifest(), source)
    source.asked.clear()
    bare = resolve(manifest(LEFT_OUT), source, previous=lock)
    assert source.asked == []
    assert [image.referrer for image in bare.image] == [(), ()]
    assert [it.attestations for image in bare.image for it in image.platform] == [(), ()]
    assert stale_reasons(manifest(LEFT_OUT), bare) == ()
    assert bare == resolve(manifest(LEFT_OUT), source)
    assert not any("referrers" in asked or "sha256-" in asked for asked in source.asked)


def test_attestations_that_are_wanted_after_all_do_not_move_the_pins(source: MemorySource) -> None:
    signed = source.attach("one", top_of(source, "one:1"))
    bare = resolve(manifest(LEFT_OUT), source)
    source.publish("one:1", "linux/amd64", layers=(b"moved",))
    after = resolve(manifest(), source, previous=bare)
    assert after.image[0].digest == bare.image[0].digest
    assert [it.digest for it in after.image[0].referrer] == [signed.descriptor.digest]
    assert after.image[0].platform[0].attestations


class Telling:
    """A listener that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def task(self, label: str, total: int | None = None) -> Task:
        return SILENT.task(label, total)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def detail(self, message: str) -> None:
        raise NotImplementedError


def test_what_is_listed_but_gone_or_no_manifest_is_told_and_left_out(source: MemorySource) -> None:
    top = top_of(source, "one:1")
    gone = source.attach("one", top, b"gone").descriptor
    del source.manifests[f"docker.io/library/one@{gone.digest}"]
    index = Descriptor(media_type=OCI_INDEX, digest=gone.digest, size=1)
    source.attached[top].append(index)
    told = Telling()
    assert resolve(manifest(), source, progress=told).image[0].referrer == ()
    start = f"one:1: {short(gone.digest)}, which refers to {short(top)}, is left out: "
    assert told.notes == [
        f"{start}it is listed, but not there",
        f"{start}it is no manifest but '{OCI_INDEX}'",
    ]


def test_more_referrers_than_can_be_meant_are_an_error_that_names_the_way_out(
    source: MemorySource,
) -> None:
    top = top_of(source, "one:1")
    for number in range(MAX_REFERRERS + 1):
        source.attach("one", top, str(number).encode())
    with pytest.raises(RegistryError, match=r"one:1: 257 manifests refer to sha256:") as caught:
        resolve(manifest(), source)
    assert (
        caught.value.hint == "attestations = false in [bundle] leaves signatures and the like out"
    )


def test_more_bytes_of_signatures_than_can_be_meant_are_an_error(source: MemorySource) -> None:
    made = source.attach("one", top_of(source, "one:1"), b"tiny")
    document = json.loads(made.raw)
    document["layers"][0]["size"] = 1 << 30
    swollen = content(json.dumps(document).encode(), OCI_MANIFEST)
    source.manifests[f"docker.io/library/one@{swollen.descriptor.digest}"] = swollen
    source.attached[top_of(source, "one:1")] = [swollen.descriptor]
    with pytest.raises(RegistryError, match="what refers to it holds 1073742"):
        resolve(manifest(), source)


def test_all_that_the_registry_does_not_have_is_told_with_who_wants_it(
    source: MemorySource,
) -> None:
    with pytest.raises(RegistryError) as caught:
        resolve(manifest(TEXT.replace("one:1", "four:1").replace("two:1", "three:1")), source)
    assert caught.value.lines == (
        "images.one: four:1: not found",
        "images.two: three:1: not found",
    )


def test_what_is_wrong_with_a_registry_is_told_once() -> None:
    class Down(MemorySource):
        def manifest(self, reference: Reference) -> Content:
            raise RegistryError(f"registry {reference.registry}: unknown host", hint="its name?")

    with pytest.raises(RegistryError) as caught:
        resolve(manifest(), Down())
    assert caught.value.lines == ("images.one, images.two: registry docker.io: unknown host",)
    assert caught.value.hint == "its name?"


def test_a_platform_that_is_a_slip_of_the_pen_is_told_with_the_one_that_was_meant(
    source: MemorySource,
) -> None:
    with pytest.raises(ManifestError) as caught:
        resolve(manifest(TEXT.replace('"linux/amd64"', '"linux/amd46", "linux/arm64"')), source)
    assert caught.value.lines == (
        "images.one: one:1 has no linux/amd46; it has linux/amd64, linux/arm64; "
        "did you mean linux/amd64?",
        "images.two: two:1 has no linux/amd46; it has linux/amd64; did you mean linux/amd64?",
        "images.two: two:1 has no linux/arm64; it has linux/amd64",
    )
