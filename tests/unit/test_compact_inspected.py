"""What is told of compact bundles and tarballs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.cli.export import _packaging
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.inspection import InspectedPlatform, inspect
from airgapbuild.manifest import BundleEntry
from airgapbuild.oci.digest import digest_of
from tests.support.forgery import COMPACT, TARBALL, make_bundle, members, recompress
from tests.support.program import airgapbuild, document


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b", COMPACT)


def platform_of(path: Path) -> InspectedPlatform:
    [image] = inspect(path).images
    [platform] = image.platforms
    return platform


def test_raw_layers_stand_beside_what_they_are_the_raw_form_of(made: Path) -> None:
    bundle = open_bundle(made)
    [image] = bundle.lock.image
    [locked] = image.platform
    platform = platform_of(made)
    assert platform.layers is not None
    documents = bundle.image(image, locked)
    assert tuple(it.digest for it in platform.layers) == documents.parsed_config.diff_ids
    assert sum(it.size for it in platform.upstream) == locked.layers_size == platform.size
    assert platform.manifest == locked.manifest
    assert platform.derived == documents.top.descriptor.digest
    assert platform.lacking == ()


def test_a_tarball_alone_tells_the_same(made: Path) -> None:
    alone, whole = platform_of(made / TARBALL), platform_of(made)
    assert alone == whole
    [image] = inspect(made / TARBALL).images
    assert image.digest == inspect(made).images[0].digest


def test_a_large_tarball_alone_tells_the_same(tmp_path: Path) -> None:
    """Its long frame wants more memory than the frames of documents may."""
    made = make_bundle(tmp_path / "b", COMPACT, size=5_000_000)
    assert platform_of(made / TARBALL) == platform_of(made)


def test_a_tarballs_layers_are_not_read(made: Path, tmp_path: Path) -> None:
    raw = (made / TARBALL).read_bytes()
    (tmp_path / TARBALL).write_bytes(raw[:-150_000])
    assert platform_of(tmp_path / TARBALL) == platform_of(made)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"layer.v1.tar", b"layer.v1.tar+gzip", "does not follow from sha256:"),
        (b'"size":307200', b'"size":999999999', "comes to more than 1032 times its size"),
        (b'from":"sha256:', b'from":"sha257:', "is not a digest"),
        (b'from":"sha256:0', b'from":"sha256:1', "does not come before the layers"),
    ],
)
def test_a_derived_manifest_that_says_something_else_is_refused(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    folder = make_bundle(tmp_path / "b", COMPACT)
    whole = members(folder)
    [name] = [name for name, data in whole.items() if b"derived-from" in data]
    assert old in whole[name]
    other = whole[name].replace(old, new)
    before = f'{name[-64:]}","size":{len(whole[name])}'.encode()
    after = f'{digest_of(other)[7:]}","size":{len(other)}'.encode()
    forged = {
        f"blobs/sha256/{digest_of(other)[7:]}" if key == name else key: other
        if key == name
        else data.replace(before, after)
        for key, data in whole.items()
    }
    recompress(folder, forged, set())
    with pytest.raises((BundleError, IntegrityError), match=message):
        inspect(folder / TARBALL)


def test_the_command_tells_it_in_words_and_json(made: Path) -> None:
    for path in (made, made / TARBALL):
        words = airgapbuild("inspect", path).stdout
        assert "RAW FORM OF" in words
        assert "IN A CONTAINERD STORE" in words
        told = document(airgapbuild("inspect", "--json", path))
        [platform] = told["images"][0]["platforms"]
        assert platform["derived-manifest"] == platform_of(made).derived
        assert len(platform["upstream-layers"]) == len(platform["layers"]) == 2


def test_an_exact_bundle_tells_nothing_of_it(tmp_path: Path) -> None:
    words = airgapbuild("inspect", make_bundle(tmp_path / "exact")).stdout
    assert "RAW FORM OF" not in words
    assert "IN A CONTAINERD STORE" not in words


COMPACT_ENTRY = BundleEntry(layers="compact", level=3)


@pytest.mark.parametrize(
    ("entry", "level", "compact", "packaging"),
    [
        (BundleEntry(), None, None, Packaging()),
        (BundleEntry(), None, True, Packaging(layers="compact")),
        (BundleEntry(), 19, True, Packaging(layers="compact", level=19)),
        (COMPACT_ENTRY, None, None, Packaging(layers="compact", level=3)),
        (COMPACT_ENTRY, 5, None, Packaging(layers="compact", level=5)),
        (COMPACT_ENTRY, None, False, Packaging()),
    ],
)
def test_options_go_before_the_manifest(
    entry: BundleEntry, level: int | None, compact: bool | None, packaging: Packaging
) -> None:
    assert _packaging(entry, None, level, compact=compact) == packaging
