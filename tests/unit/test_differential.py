"""What a differential export leaves out, and how the bundle says so."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zstandard

from airgapbuild.bundle.index import INDEX_FILE, OlderBlob, RequiredBlob
from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.diff import diff
from airgapbuild.errors import BundleError, IntegrityError, UsageError
from airgapbuild.inspection import inspect
from airgapbuild.inventory import (
    HeldBlob,
    Inventory,
    parse_inventory,
    render_inventory,
    write_inventory,
)
from airgapbuild.oci.content import Descriptor
from airgapbuild.oci.digest import Digest, digest_of
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.platform import parse_platform
from airgapbuild.report.facts import gather
from airgapbuild.report.page import render_page
from airgapbuild.supply import Supply
from airgapbuild.verify import verify
from schemas.generate import schema_of
from tests.support.forgery import stored, vouch
from tests.support.program import airgapbuild
from tests.support.project import Project

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "kit:1"
role = "tool"
[images.python]
ref = "python:1"
role = "base"
"""
KIT, PYTHON = "kit_1_linux-amd64.oci.tar.zst", "python_1_linux-amd64.oci.tar.zst"
BASE, MIDDLE, OTHER = (random.Random(n).randbytes(50_000) for n in range(3))
COMPACT = Packaging(layers="compact", level=1)
AMD64 = parse_platform("linux/amd64")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """With its first version in the bundle `old`, and the second one pushed."""
    project = Project(tmp_path, TEXT)
    push(project, BASE, MIDDLE, b"old")
    project.export("old")
    push(project, BASE, MIDDLE, b"new")
    return project


def push(project: Project, *layers: bytes) -> None:
    for name in ("kit:1", "python:1"):
        project.source.publish(name, "linux/amd64", layers=layers)


def required(folder: Path, name: str) -> list[RequiredBlob]:
    file = open_bundle(folder).index.file(name)
    assert file is not None
    return list(file.requires)


def layers(folder: Path, name: str) -> list[Descriptor]:
    """The layers of an image, lowest first."""
    bundle = open_bundle(folder)
    image = bundle.lock.find(name)
    assert image is not None
    return list(bundle.image(image, image.platform[0]).layers)


def diff_ids(folder: Path, name: str) -> tuple[Digest, ...]:
    bundle = open_bundle(folder)
    image = bundle.lock.find(name)
    assert image is not None
    return bundle.image(image, image.platform[0]).parsed_config.diff_ids


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def inventory(folder: Path, *chains: tuple[Digest, ...], blobs: tuple[HeldBlob, ...] = ()) -> Path:
    taken = Inventory(inventory=1, platform=AMD64, store="classic", images=chains, blobs=blobs)
    write_inventory(folder / "inventory.json", taken)
    return folder / "inventory.json"


def edit(folder: Path, name: str, **changes: Any) -> None:
    """Writes other requirements of a tarball into bundle.json, sums and all."""
    path = folder / INDEX_FILE
    document = json.loads(path.read_text())
    [file] = [file for file in document["files"] if file["name"] == name]
    file["requires"][0] |= changes
    path.write_text(json.dumps(document))
    vouch(folder, INDEX_FILE)


def test_what_the_old_bundle_has_is_left_out(project: Project) -> None:
    project.source.asked.clear()
    exported = project.export("new", project.folder / "old")
    for name, tarball in (("kit", KIT), ("python", PYTHON)):
        lower = layers(project.folder / "new", name)[:2]
        wanted = {layer.digest for layer in lower}
        assert {it.digest for it in required(project.folder / "new", tarball)} >= wanted
        file = exported.index.file(tarball)
        assert file is not None
        assert file.size < 40_000
        assert wanted.isdisjoint(blob.digest for blob in file.blobs)
        assert not any(asked.partition("@")[2] in wanted for asked in project.source.asked)


def test_a_requirement_tells_digest_size_and_diff_id(project: Project) -> None:
    project.export("new", project.folder / "old")
    found = required(project.folder / "new", KIT)
    ids = diff_ids(project.folder / "new", "kit")
    lower = layers(project.folder / "new", "kit")[:2]
    assert [(it.digest, it.size, it.diff_id) for it in found] == [
        (layer.digest, layer.size, diff_id) for layer, diff_id in zip(lower, ids, strict=False)
    ]
    assert digest_of(gzip.decompress(project.source.blobs[found[0].digest])) == found[0].diff_id


def test_an_attestations_blob_is_left_out_where_the_layout_has_it(project: Project) -> None:
    project.export("same", project.folder / "old")
    push(project, BASE, MIDDLE, b"old")
    project.export("same", project.folder / "old")
    assert [it.diff_id for it in required(project.folder / "same", PYTHON)].count(None) >= 1
    assert None not in [it.diff_id for it in required(project.folder / "same", KIT)]


def test_a_lock_stands_for_its_bundle(project: Project) -> None:
    push(project, BASE, MIDDLE, b"old")
    lock = project.lock_file()
    push(project, BASE, MIDDLE, b"new")
    project.export("by-lock", lock)
    project.export("by-bundle", project.folder / "old")
    assert contents(project.folder / "by-lock") == contents(project.folder / "by-bundle")


@pytest.mark.parametrize("packaging", [Packaging(), COMPACT], ids=["exact", "compact"])
def test_an_inventory_stands_for_its_receiver(project: Project, packaging: Packaging) -> None:
    ids = diff_ids(project.folder / "old", "kit")
    project.export("new", inventory(project.folder, ids), packaging=packaging)
    assert [it.diff_id for it in required(project.folder / "new", KIT)] == list(ids[:2])
    assert required(project.folder / "new", PYTHON) == []
    assert open_bundle(project.folder / "new").index.against[0].name is None


def test_an_inventorys_blobs_are_left_out_of_what_goes_to_the_layout(project: Project) -> None:
    shelf = Layout(project.folder / "layout")
    base = layers(project.folder / "old", "python")[0]
    shelf.put(base, project.source.blob(project.lock().image[0].ref, base))
    held = tuple(HeldBlob(digest=it.digest, size=it.size) for it in shelf.blobs())
    project.export("new", inventory(project.folder, blobs=held))
    assert [it.digest for it in required(project.folder / "new", PYTHON)] == [base.digest]
    assert required(project.folder / "new", KIT) == []


def test_of_an_image_for_both_places_only_what_neither_needs_is_left_out(project: Project) -> None:
    """The lowest layers, which the daemon has, as far as the layout has them, too."""
    lowest, middle, _ = layers(project.folder / "old", "python")
    chain = diff_ids(project.folder / "old", "python")
    project.text = TEXT.replace('role = "base"', "daemon = true")
    for chains, blobs, left_out in (
        ((chain,), (lowest, middle), {lowest.digest, middle.digest}),
        ((chain,), (middle,), {middle.digest}),
        ((chain[:1],), (lowest, middle), {lowest.digest}),
        ((), (lowest, middle), set()),
        ((chain,), (), set()),
    ):
        held = tuple(HeldBlob(digest=it.digest, size=it.size) for it in blobs)
        project.export("new", inventory(project.folder, *chains, blobs=held))
        assert {it.digest for it in required(project.folder / "new", PYTHON)} == left_out


@pytest.mark.parametrize("packaging", [Packaging(), COMPACT], ids=["exact", "compact"])
def test_a_bundle_for_both_places_stands_for_both(project: Project, packaging: Packaging) -> None:
    project.text = TEXT.replace('role = "base"', "daemon = true")
    push(project, BASE, MIDDLE, b"old")
    project.export("both", packaging=packaging)
    push(project, BASE, MIDDLE, b"new")
    project.export("new", project.folder / "both", packaging=packaging)
    lower = {layer.digest for layer in layers(project.folder / "new", "python")[:2]}
    left_out = {it.digest for it in required(project.folder / "new", PYTHON)}
    assert left_out == lower


def test_several_tell_more_than_one(project: Project) -> None:
    ids = diff_ids(project.folder / "old", "kit")
    push(project, BASE, b"else")
    project.export("short")
    push(project, BASE, MIDDLE, b"new")
    project.export("new", project.folder / "short", inventory(project.folder, ids))
    assert len(required(project.folder / "new", KIT)) == 2
    assert len(open_bundle(project.folder / "new").index.against) == 2


def test_only_a_common_beginning_counts_for_the_daemon(project: Project) -> None:
    push(project, OTHER, MIDDLE, b"new")
    project.export("new", project.folder / "old")
    assert required(project.folder / "new", KIT) == []
    middle = layers(project.folder / "new", "python")[1]
    assert middle.digest in {it.digest for it in required(project.folder / "new", PYTHON)}


def test_a_layer_that_comes_again_farther_up_travels(project: Project) -> None:
    push(project, BASE, MIDDLE, BASE, b"new")
    project.export("new", project.folder / "old")
    middle = layers(project.folder / "new", "kit")[1]
    assert [it.digest for it in required(project.folder / "new", KIT)] == [middle.digest]


def test_another_compression_of_a_layer_is_not_what_the_old_bundle_had(project: Project) -> None:
    """A containerd store would not find it."""
    project.export("new", project.folder / "old", packaging=COMPACT)
    assert required(project.folder / "new", KIT) == []


def test_a_compact_bundle_leaves_out_raw_layers(project: Project) -> None:
    push(project, BASE, MIDDLE, b"old")
    project.export("raw", packaging=COMPACT)
    push(project, BASE, MIDDLE, b"new")
    exported = project.export("new", project.folder / "raw", packaging=COMPACT)
    assert [it.digest for it in required(project.folder / "new", KIT)] == list(
        diff_ids(project.folder / "new", "kit")[:2]
    )
    assert all(file.size < 40_000 for file in exported.index.files)
    verify(project.folder / "new")
    assert verify(project.folder / "new").error is None


def test_what_another_platforms_images_have_does_not_count(project: Project) -> None:
    arm = replace(project, text=TEXT.replace("amd64", "arm64"))
    for name in ("kit:1", "python:1"):
        arm.source.publish(name, "linux/arm64", layers=(BASE, MIDDLE, b"new"))
    arm.export("new", project.folder / "old")
    assert required(project.folder / "new", KIT.replace("amd64", "arm64")) == []


def test_a_differential_may_be_built_upon(project: Project) -> None:
    project.export("second", project.folder / "old")
    push(project, BASE, MIDDLE, b"new", b"newer")
    project.export("third", project.folder / "second")
    upper = layers(project.folder / "second", "kit")
    project.source.publish("kit:1", "linux/amd64", layers=(BASE, MIDDLE, b"new"))
    assert [it.digest for it in required(project.folder / "third", KIT)] == [
        layer.digest for layer in upper[:2]
    ]


def test_the_same_lock_and_baseline_give_the_same_bytes(project: Project) -> None:
    project.export("one", project.folder / "old")
    project.source.chunk = 1000
    project.export("two", project.folder / "old")
    assert contents(project.folder / "one") == contents(project.folder / "two")


def test_an_unchanged_differential_is_left_alone(project: Project) -> None:
    project.export("new", project.folder / "old")
    before = contents(project.folder / "new")
    exported = project.export("new", project.folder / "old")
    assert (exported.changed, exported.written, exported.fetched) == (False, (), 0)
    assert contents(project.folder / "new") == before


def test_another_baseline_makes_other_tarballs(project: Project) -> None:
    project.export("new", project.folder / "old")
    ids = diff_ids(project.folder / "old", "kit")[:1]
    exported = project.export("new", inventory(project.folder, ids))
    assert set(exported.written) == {KIT, PYTHON}
    assert verify(project.folder / "new").error is None
    project.export("plain")
    project.export("new")
    assert contents(project.folder / "new") == contents(project.folder / "plain")


def test_a_whole_bundle_is_not_replaced_by_a_differential(project: Project) -> None:
    push(project, BASE, MIDDLE, b"old")
    lock = project.lock_file()
    before = contents(project.folder / "old")
    with pytest.raises(BundleError, match="holds a whole bundle") as refused:
        project.export("old", lock)
    assert refused.value.hint == "choose another folder with -o"
    assert contents(project.folder / "old") == before


def test_a_killed_whole_export_is_gone_on_from(project: Project) -> None:
    project.export("plain")
    (project.folder / "new").mkdir()
    half = (project.folder / "plain" / KIT).read_bytes()
    (project.folder / "new" / f".{KIT}.part").write_bytes(half)
    project.export("new", project.folder / "old")
    assert verify(project.folder / "new").error is None


def test_a_baselines_missing_tarball_is_nothing_to_leave_out(project: Project) -> None:
    (project.folder / "old" / KIT).unlink()
    project.export("new", project.folder / "old")
    assert required(project.folder / "new", KIT) == []
    assert required(project.folder / "new", PYTHON) != []


def test_verify_inspect_and_diff_know_a_differential(project: Project) -> None:
    project.export("new", project.folder / "old")
    project.export("plain")
    found = verify(project.folder / "new")
    assert found.error is None
    assert {it.digest for it in found.requires} == {
        it.digest for name in (KIT, PYTHON) for it in required(project.folder / "new", name)
    }
    kit, _ = inspect(project.folder / "new").images
    assert [blob.digest for blob in kit.platforms[0].lacking] == [
        it.digest for it in required(project.folder / "new", KIT)
    ]
    old = project.folder / "old"
    assert diff(old, project.folder / "new").size == diff(old, project.folder / "plain").size
    told = airgapbuild("verify", project.folder / "new").stdout
    assert "it is a differential: the receiver must hold" in told


def rebuilt(project: Project) -> tuple[Path, Path]:
    """The compact bundle of a version, and the differential of one whose middle layer is new."""
    big = MIDDLE * 3
    push(project, BASE, big, b"old")
    project.export("raw", packaging=COMPACT)
    push(project, BASE, big[:70_000] + b"patched" + big[70_007:], b"new")
    project.export("told", project.folder / "raw", packaging=COMPACT)
    return project.folder / "raw", project.folder / "told"


def test_a_rebuilt_layer_is_told_by_the_older_one(project: Project) -> None:
    raw, told = rebuilt(project)
    file = open_bundle(told).index.file(KIT)
    assert file is not None
    (blob,) = [blob for blob in file.blobs if blob.reference]
    assert blob.reference == layers(raw, "kit")[1].digest == file.references[0].digest
    assert blob.digest == layers(told, "kit")[1].digest
    assert blob.length < blob.size / 100
    found = verify(told)
    assert found.error is None
    assert found.references == file.references
    assert inspect(told).images[0].platforms[0].references == file.references
    page = render_page(gather(told)).decode()
    assert "Except of layers that are told by older ones" in page
    assert "compact: raw, compressed anew at level 1" in page
    assert "Except of layers" not in render_page(gather(raw)).decode()
    before = contents(told)
    assert not project.export("told", raw, packaging=COMPACT).changed
    project.export("again", raw, packaging=COMPACT)
    assert contents(project.folder / "again") == before


def test_an_older_layer_is_read_from_an_exact_bundle_or_from_the_registry(project: Project) -> None:
    big = MIDDLE * 3
    push(project, BASE, big, b"old")
    lock = project.lock_file()
    project.export("exact")
    push(project, BASE, big[:70_000] + b"patched" + big[70_007:], b"new")
    for name, against in (("by-lock", lock), ("by-bundle", project.folder / "exact")):
        project.export(name, against, packaging=COMPACT)
        file = open_bundle(project.folder / name).index.file(KIT)
        assert file is not None
        assert [blob.length < 1000 for blob in file.blobs if blob.reference] == [True]


BOTTOM, MIDST = random.Random(3).randbytes(100_000), random.Random(4).randbytes(150_000)


@pytest.mark.parametrize(
    ("against", "by"),
    [
        (("told",), [None, None]),
        (("raw", "told"), [0, 1]),
        (("told", "raw"), [0, 1]),
    ],
)
def test_a_compact_differential_may_be_built_upon(
    project: Project, against: tuple[str, ...], by: list[int | None]
) -> None:
    """Of what it does not hold itself, an earlier one tells the older layer; else it travels."""
    push(project, BOTTOM, MIDST, b"old")
    project.export("raw", packaging=COMPACT)
    push(project, BOTTOM, MIDST[:-1] + b"?", b"new")
    project.export("told", project.folder / "raw", packaging=COMPACT)
    push(project, b"!" + BOTTOM[1:], MIDST[:-1] + b"!", b"newer")
    folders = [project.folder / name for name in against]
    third = project.bundle("third", *folders, packaging=COMPACT)
    file = third.index.file(KIT)
    assert file is not None
    told = {blob.digest: blob.reference for blob in file.blobs}
    older = [layer.digest for layer in layers(project.folder / "raw", "kit")]
    wanted = [None if height is None else older[height] for height in by]
    assert [told[layer.digest] for layer in layers(third.folder, "kit")[:2]] == wanted
    assert verify(third.folder).error is None
    supply = Supply.of(third, map(open_bundle, folders), project.folder / "scratch")
    for image in third.lock.image:
        supply.bundle.check_image(image, image.platform[0])


PLAIN = zstandard.ZstdCompressor(write_content_size=False)
SKIPPABLE = b"\x50\x2a\x4d\x18" + bytes(4)
FORGED_FRAMES: dict[str, Callable[[int], bytes]] = {
    "more than the layer": lambda size: stored(bytes(size) + b"another image"),
    "less than the layer": lambda size: stored(bytes(size - 1)),
    "nobody knows how much": lambda size: PLAIN.compress(bytes(size)),
    "no frame at all": lambda size: b"none" + bytes(size),
    "something that is passed over": lambda size: stored(bytes(size)) + SKIPPABLE,
    "a frame that goes on": lambda size: stored(bytes(size))[:-1],
}


@pytest.mark.parametrize("row", FORGED_FRAMES)
def test_what_is_told_by_an_absent_layer_takes_its_place_and_no_more(
    project: Project, row: str
) -> None:
    """Its content cannot be proven, but that who decodes one stream finds the others after it."""
    _, told = rebuilt(project)
    document = json.loads((told / INDEX_FILE).read_text())
    [file] = [file for file in document["files"] if file["name"] == KIT]
    [blob] = [blob for blob in file["blobs"] if "reference" in blob]
    raw, stop = (told / KIT).read_bytes(), blob["offset"] + blob["length"]
    frames = FORGED_FRAMES[row](blob["size"])
    blob["length"] = len(frames)
    (told / KIT).write_bytes(raw[: blob["offset"]] + frames + raw[stop:])
    (told / INDEX_FILE).write_text(json.dumps(document))
    vouch(told, KIT)
    found = verify(told)
    assert isinstance(found.error, BundleError)
    assert found.fetch == ()


def test_what_is_told_by_itself_is_nowhere(project: Project) -> None:
    raw, told = rebuilt(project)
    layer = layers(told, "kit")[1]
    document = json.loads((told / INDEX_FILE).read_text())
    for file in document["files"]:
        for blob in file.get("blobs", ()):
            if blob["digest"] == layer.digest:
                blob["reference"] = layer.digest
                file["references"] = [{"digest": layer.digest, "size": layer.size}]
    (told / INDEX_FILE).write_text(json.dumps(document))
    vouch(told, INDEX_FILE)
    supply = Supply.of(open_bundle(raw), [open_bundle(told)], project.folder / "scratch")
    assert supply.bundle.older(OlderBlob(digest=layer.digest, size=layer.size)) is None


def test_what_is_told_by_an_older_layer_needs_it(project: Project) -> None:
    _, told = rebuilt(project)
    bundle = open_bundle(told)
    layer = layers(told, "kit")[1]
    with pytest.raises(BundleError, match="which is not at hand"):
        list(bundle.blob(bundle.lock.image[0].ref, layer))


def test_plain_zstd_takes_what_is_told_for_damaged(project: Project) -> None:
    raw, told = rebuilt(project)
    for folder, code in ((raw, 0), (told, 1)):
        done = subprocess.run(["zstd", "--test", "-q", folder / KIT], check=False)
        assert done.returncode == code


def test_a_flipped_bit_in_what_is_told_is_found(project: Project) -> None:
    _, told = rebuilt(project)
    file = open_bundle(told).index.file(KIT)
    assert file is not None
    (blob,) = [blob for blob in file.blobs if blob.reference]
    raw = bytearray((told / KIT).read_bytes())
    raw[blob.offset + blob.length // 2] ^= 1
    (told / KIT).write_bytes(raw)
    assert isinstance(verify(told).error, IntegrityError)


@pytest.mark.parametrize("key", ["references", "reference"])
def test_references_that_do_not_fit_their_blobs_are_refused(project: Project, key: str) -> None:
    _, told = rebuilt(project)
    document = json.loads((told / INDEX_FILE).read_text())
    [file] = [file for file in document["files"] if file["name"] == KIT]
    if key == "references":
        file["references"] = []
    else:
        next(blob for blob in file["blobs"] if "reference" in blob)["reference"] = digest_of(b"")
    (told / INDEX_FILE).write_text(json.dumps(document))
    vouch(told, INDEX_FILE)
    error = verify(told).error
    assert error is not None
    assert "its references are not those of its blobs" in error.message


@pytest.mark.parametrize(
    "change",
    [
        {"digest": digest_of(b"foreign")},
        {"size": 1},
        {"diff-id": digest_of(b"foreign")},
    ],
)
def test_a_forged_requirement_is_refused(project: Project, change: dict[str, Any]) -> None:
    project.export("new", project.folder / "old")
    edit(project.folder / "new", KIT, **change)
    error = verify(project.folder / "new").error
    assert isinstance(error, BundleError)
    assert f"{KIT}: bundle.json: requires sha256:" in error.message


def test_a_requirement_that_the_tarball_holds_is_refused(project: Project) -> None:
    project.export("new", project.folder / "old")
    top = layers(project.folder / "new", "kit")[2]
    diff_id = diff_ids(project.folder / "new", "kit")[2]
    edit(project.folder / "new", KIT, digest=top.digest, size=top.size, **{"diff-id": diff_id})
    with pytest.raises(BundleError, match="which is not so"):
        layers(project.folder / "new", "kit")


def test_a_layer_left_out_without_a_word_is_refused(project: Project) -> None:
    project.export("new", project.folder / "old")
    path = project.folder / "new" / INDEX_FILE
    document = json.loads(path.read_text())
    for file in document["files"]:
        file.pop("requires", None)
    path.write_text(json.dumps(document))
    vouch(project.folder / "new", INDEX_FILE)
    error = verify(project.folder / "new").error
    assert error is not None
    assert "lacks blobs/sha256/" in error.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"inventory": 2}', "version 2 is newer than this airgapbuild reads"),
        ('{"inventory": 1}', "platform: Field required"),
        ('{"inventory": 1, "images": [["sha256:x"]]}', "'sha256:x' is not a digest"),
    ],
)
def test_what_is_no_inventory_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "inventory.json"
    path.write_text(content)
    with pytest.raises(BundleError) as refused:
        parse_inventory(path.read_bytes(), str(path))
    assert str(path) in refused.value.message
    if "x" not in message:
        assert message in refused.value.message


def test_an_inventory_fits_its_schema_and_comes_back(tmp_path: Path) -> None:
    chain = (digest_of(b"1"), digest_of(b"2"))
    path = inventory(tmp_path, chain, blobs=(HeldBlob(digest=digest_of(b"3"), size=1),))
    raw = path.read_bytes()
    jsonschema.validate(json.loads(raw), json.loads(schema_of("inventory.schema.json")))
    assert render_inventory(parse_inventory(raw, "i")) == raw


def test_a_byte_order_mark_before_an_inventory_is_told(project: Project) -> None:
    path = inventory(project.folder)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(BundleError, match=r"inventory\.json: begins with a byte-order mark"):
        project.export("new", path)


def test_an_inventory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"inventory\.json: "):
        inventory(tmp_path / "file")


def test_a_layouts_damaged_blob_is_not_held(tmp_path: Path) -> None:
    shelf = Layout(tmp_path)
    assert list(shelf.blobs()) == []
    blob = Descriptor(media_type="", digest=digest_of(b"right"), size=5)
    shelf.put(blob, iter([b"right"]))
    (shelf.path / "blobs" / "sha256" / "notes.txt").write_text("")
    assert list(shelf.blobs()) == [blob]
    shelf.blob_path(blob.digest).write_bytes(b"wrong")
    assert list(shelf.blobs()) == []


def test_a_baseline_that_is_not_there_is_a_usage_error(project: Project) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        project.export("new", project.folder / "nowhere")


def test_a_damaged_baseline_is_told(project: Project) -> None:
    (project.folder / "old" / INDEX_FILE).write_text("{}")
    with pytest.raises(IntegrityError, match=r"bundle\.json: sha256"):
        project.export("new", project.folder / "old")
