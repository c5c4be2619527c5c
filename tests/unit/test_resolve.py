from __future__ import annotations

from pathlib import Path

import pytest

from airgapbuild.errors import ManifestError, RegistryError
from airgapbuild.lockfile import render_lock
from airgapbuild.manifest import Manifest, parse_manifest
from airgapbuild.resolve import changes, resolve
from tests.support.memory import MemorySource

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


def test_what_the_registry_does_not_have_is_its_error(source: MemorySource) -> None:
    with pytest.raises(RegistryError, match="three:1: not found"):
        resolve(manifest(TEXT.replace("two:1", "three:1")), source)
