"""Compact bundles that a forger made, up to one who rewrites the index and the sums as well."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.reader import Bundle, open_bundle
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError
from airgapbuild.inspection import inspect
from airgapbuild.oci.archive import Member
from airgapbuild.oci.digest import digest_of
from airgapbuild.verify import verify
from tests.support.forgery import COMPACT, TARBALL, make_bundle, members, recompress, vouch

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = "blobs/sha256/" + "0" * 64


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b", COMPACT)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def prove(folder: Path) -> Bundle:
    bundle = open_bundle(folder)
    bundle.check_files()
    [image] = bundle.lock.image
    bundle.check_image(image, image.platform[0])
    return bundle


def layers_of(folder: Path) -> list[str]:
    """The names of the raw layers, in the tar's order."""
    bundle = open_bundle(folder)
    [image] = bundle.lock.image
    layers = bundle.image(image, image.platform[0]).layers
    return [f"blobs/sha256/{layer.digest[7:]}" for layer in sorted(layers, key=lambda it: it.size)]


def edit_index(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads((folder / "bundle.json").read_bytes())
    edit(index)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)


def edit_blob(folder: Path, name: str, **fields: int) -> None:
    def edit(index: dict[str, Any]) -> None:
        for file in index["files"]:
            for blob in file.get("blobs", ()):
                if blob["digest"][7:] == name[-64:]:
                    blob.update(fields)

    edit_index(folder, edit)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_anywhere_is_found(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = folder / TARBALL
    raw = bytearray(path.read_bytes())
    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match="sha256"):
        prove(folder)
    assert verify(folder).fetch == (TARBALL,)


@pytest.mark.parametrize("size", [1033 * 400_000, 1 << 50])
def test_a_size_beyond_all_compression_is_refused(folder: Path, size: int) -> None:
    edit_blob(folder, layers_of(folder)[-1], size=size)
    with pytest.raises(BundleError, match="comes to more than 1032 times its size"):
        prove(folder)


@pytest.mark.parametrize("start", [1, 1024, 1 << 50])
def test_a_layer_that_begins_elsewhere_is_refused(folder: Path, start: int) -> None:
    edit_blob(folder, layers_of(folder)[0], start=start)
    with pytest.raises(BundleError, match=r"its blobs lie elsewhere than bundle\.json says"):
        prove(folder)


def test_a_document_far_back_in_the_long_frame_is_not_looked_for(folder: Path) -> None:
    bundle = open_bundle(folder)
    [image] = bundle.lock.image
    documents = bundle.image(image, image.platform[0])
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    last = file["blobs"][-1]
    edit_blob(
        folder,
        documents.config.descriptor.digest,
        offset=last["offset"],
        length=last["length"],
        start=1 << 50,
    )
    with pytest.raises(BundleError, match="lies farther back than it can"):
        prove(folder)


def endless(folder: Path, head: bytes) -> None:
    """The long frame is replaced by this and terabytes of zeros."""
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    offset = file["blobs"][-1]["offset"]
    zeros = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    frames = zstandard.ZstdCompressor().compress(head) + zeros * 20_000
    (folder / TARBALL).write_bytes((folder / TARBALL).read_bytes()[:offset] + frames)
    for blob in file["blobs"]:
        if "start" in blob:
            blob["length"] = len(frames)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)


def test_a_layer_that_decodes_to_terabytes_is_left_at_once(folder: Path) -> None:
    name = layers_of(folder)[0]
    endless(folder, Member(name, len(members(folder)[name])).header)
    with pytest.raises(IntegrityError, match="expected sha256"):
        prove(folder)


def test_a_header_that_announces_terabytes_is_refused(folder: Path) -> None:
    endless(folder, Member(layers_of(folder)[0], 1 << 40).header)
    with pytest.raises(IntegrityError, match=rf"{1 << 40} bytes, expected"):
        prove(folder)


def test_a_long_frame_that_wants_gigabytes_of_memory_is_refused(folder: Path) -> None:
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    offset = file["blobs"][-1]["offset"]
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(bytes(1000)) + compressor.flush()
    (folder / TARBALL).write_bytes((folder / TARBALL).read_bytes()[:offset] + frame)
    for blob in file["blobs"]:
        if "start" in blob:
            blob["length"] = len(frame)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)
    with pytest.raises(BundleError, match="not zstd"):
        prove(folder)


def repacked(folder: Path, edit: Callable[[dict[str, bytes], list[str]], None]) -> None:
    """The tarball of members that `edit` has changed; the layers' names are given to it."""
    whole, layers = members(folder), layers_of(folder)
    edit(whole, layers)
    recompress(folder, whole, set(layers))


def test_a_layer_of_other_content_is_refused(folder: Path) -> None:
    def edit(whole: dict[str, bytes], layers: list[str]) -> None:
        whole[layers[-1]] = whole[layers[-1]][:-1] + b"x"

    repacked(folder, edit)
    with pytest.raises(IntegrityError, match=rf"{TARBALL}: blobs/sha256/\w+: expected sha256"):
        prove(folder)


def test_a_missing_layer_is_named(folder: Path) -> None:
    lost = layers_of(folder)[0]

    def edit(whole: dict[str, bytes], layers: list[str]) -> None:
        del whole[lost]

    repacked(folder, edit)
    with pytest.raises(BundleError, match=f"the raw layer sha256:{lost[-64:]} is not there"):
        prove(folder)


def test_a_foreign_layer_is_named(folder: Path) -> None:
    repacked(folder, lambda whole, _: whole.update({OTHER: b"x"}))
    with pytest.raises(BundleError, match=f"member '{OTHER}' is not the image's"):
        prove(folder)


def test_the_derived_manifest_is_computed_and_not_trusted(folder: Path) -> None:
    def edit(whole: dict[str, bytes], layers: list[str]) -> None:
        [name] = [name for name, data in whole.items() if b"derived-from" in data]
        other = whole.pop(name).replace(b"derived-from", b"derived-fr0m")
        entries = dict(whole)
        whole.clear()
        head = {
            key: entries.pop(key).replace(name[-64:].encode(), digest_of(other)[7:].encode())
            for key in ("oci-layout", "index.json", "manifest.json")
        }
        whole.update({**head, f"blobs/sha256/{digest_of(other)[7:]}": other, **entries})

    repacked(folder, edit)
    with pytest.raises((BundleError, IntegrityError), match="is not what the lock leads to"):
        prove(folder)


@pytest.mark.parametrize("packed", [True, False])
def test_a_bundle_that_lies_about_how_it_is_packed_is_refused(
    folder: Path, tmp_path: Path, packed: bool
) -> None:
    if not packed:
        folder = make_bundle(tmp_path / "exact")
    edit_index(folder, lambda index: index.update(layers=None if packed else "compact"))
    with pytest.raises(AirgapbuildError, match=r"expected \d+|is not there|not the image's"):
        prove(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": "exact"}, "layers: Input should be 'compact'"),
        ({"level": 0}, "level: Input should be greater than"),
        ({"level": 20}, "level: Input should be less than"),
    ],
)
def test_an_index_that_says_something_else_is_refused(
    folder: Path, fields: dict[str, object], message: str
) -> None:
    edit_index(folder, lambda index: index.update(fields))
    with pytest.raises(BundleError, match=message):
        prove(folder)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 1 << 14), other=st.binary(min_size=1, max_size=30))
def test_a_forged_tarball_is_right_or_an_error(made: Path, at: int, other: bytes) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(made, Path(scratch, "b")))
        raw = (folder / TARBALL).read_bytes()
        (folder / TARBALL).write_bytes(raw[:at] + other + raw[at + len(other) :])
        vouch(folder, TARBALL)
        for look in (prove, lambda it: inspect(it / TARBALL)):
            with suppress(AirgapbuildError):
                look(folder)
