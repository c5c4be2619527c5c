from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.index import parse_bundle_index
from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.parts import (
    MAX_PARTS,
    Joined,
    PartFiles,
    PartWriter,
    Sums,
    UnreadableError,
    opened,
    part_lengths,
)
from airgapbuild.bundle.reader import Bundle, open_bundle
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError, UsageError
from airgapbuild.inspection import inspect
from airgapbuild.verify import verify
from tests.support.forgery import TARBALL, make_bundle, make_two, vouch
from tests.unit.test_verify import TEXT, damage

if TYPE_CHECKING:
    from collections.abc import Callable

PART = 100_000
WHOLE = random.Random(3).randbytes(2000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose one tarball lies in four parts."""
    return make_bundle(tmp_path_factory.mktemp("made") / "b", packaging=Packaging(part_size=PART))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def part(number: int) -> str:
    return f"{TARBALL}.{number:03}"


def prove(folder: Path) -> Bundle:
    bundle = open_bundle(folder)
    bundle.check_files()
    [image] = bundle.lock.image
    bundle.check_image(image, image.platform[0])
    return bundle


def joined(folder: Path, name: str) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{name}*")))


@settings(deadline=None, max_examples=50)
@given(
    st.none() | st.integers(70, 2500),
    st.lists(st.tuples(st.integers(0, 1999), st.integers(0, 600), st.integers(0, 300)), max_size=8),
)
def test_bytes_that_are_put_anywhere_are_got_from_anywhere(
    part_size: int | None, writes: list[tuple[int, int, int]]
) -> None:
    wanted = bytearray(2000)
    with TemporaryDirectory() as folder:
        files = PartFiles(Path(folder), "x", part_size)
        files.reserve(2000)
        files.put(0, [bytes(wanted)])
        for offset, length, cut in writes:
            data = WHOLE[offset : offset + length]
            files.put(offset, [data[:cut], memoryview(data)[cut:]])
            wanted[offset : offset + len(data)] = data
        for offset, length, _ in [*writes, (0, 2000, 0), (0, 3000, 0)]:
            assert files.get(length, offset) == wanted[offset : offset + length]
        files.commit()
        names = sorted(path.name for path in Path(folder).iterdir())
        assert joined(Path(folder), "x") == wanted
        lengths = part_lengths("x", 2000, part_size)
        numbered = [f"x.{number:03}" for number in range(1, len(lengths) + 1)]
        assert names == (numbered if len(lengths) > 1 else ["x"])


@settings(deadline=None, max_examples=50)
@given(st.integers(100, 2500), st.lists(st.integers(0, 900), max_size=8))
def test_what_is_written_until_it_ends_is_what_is_written_at_offsets(
    part_size: int, chunks: list[int]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        writer = PartWriter(folder, "x", part_size)
        content = b""
        for size in chunks:
            assert writer.write(WHOLE[:size]) == size
            content += WHOLE[:size]
        file = writer.finish()
        writer.commit()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert [part.size for part in file.stored] == part_lengths("x", len(content), part_size)
        assert sorted(path.name for path in folder.iterdir()) == [p.name for p in file.stored]
        for stored in file.stored:
            raw = (folder / stored.name).read_bytes()
            assert (len(raw), hashlib.sha256(raw).hexdigest()) == (stored.size, stored.sha256)
        for start in {0, len(content) // 3, max(0, part_size - 1), part_size, len(content)}:
            with opened(folder, file, start) as reader:
                assert reader.read(0) == b""
                assert b"".join(iter(lambda: reader.read(97), b"")) == content[start:]


def test_an_abandoned_file_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "y").touch()
    writer = PartWriter(tmp_path, "x", 10)
    writer.write(bytes(95))
    assert len(list(tmp_path.iterdir())) == 11
    writer.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_what_a_run_with_another_part_size_left_is_in_nobodys_way(tmp_path: Path) -> None:
    for size, part_size in ((90, 10), (95, 30), (95, None)):
        files = PartFiles(tmp_path, "x", part_size)
        files.reserve(size)
        files.put(0, [WHOLE[:size]])
    files = PartFiles(tmp_path, "x", 50)
    files.reserve(95)
    assert files.get(95, 0) == WHOLE[:50]
    files.put(50, [WHOLE[50:95]])
    files.commit()
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {
        "x.001": 50,
        "x.002": 45,
    }


def test_more_parts_than_three_digits_number_are_told_with_the_size_that_will_do() -> None:
    size = 5 << 30
    assert len(part_lengths("x", MAX_PARTS << 20, 1 << 20)) == MAX_PARTS
    with pytest.raises(BundleError, match=r"^x: 5368709120 bytes make 5120 parts") as caught:
        part_lengths("x", size, 1 << 20)
    assert caught.value.hint == "it takes a part-size of 6MiB or more"
    assert len(part_lengths("x", size, 6 << 20)) <= MAX_PARTS < size / (5 << 20)


def test_of_files_read_as_one_the_unreadable_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.001").write_bytes(b"first")
    (tmp_path / "x.002").mkdir()
    with Joined([tmp_path / "x.001", tmp_path / "x.002"]) as reader:
        assert reader.read(100) == b"first"
        with pytest.raises(UnreadableError, match=r"x\.002: Is a directory") as caught:
            reader.read(100)
    assert caught.value.name == "x.002"


def test_a_file_that_never_ends_is_left_at_its_last_part(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, "x", 1)
    writer.write(bytes(MAX_PARTS))
    with pytest.raises(BundleError, match="999 is the most"):
        writer.write(b"x")
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_the_first_parts_sum_is_no_second_pass() -> None:
    sums = Sums(5)
    for byte in b"abcdefghij":
        sums.update(bytes([byte]))
    file = sums.file("x")
    assert [stored.sha256 for stored in file.parts] == [
        hashlib.sha256(raw).hexdigest() for raw in (b"abcde", b"fghij")
    ]
    assert file.sha256 == hashlib.sha256(b"abcdefghij").hexdigest()


def test_the_parts_are_the_tarball_that_export_writes_without(folder: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "whole")
    assert joined(folder, TARBALL) == (tmp_path / "whole" / TARBALL).read_bytes()
    assert len(list(folder.glob(f"{TARBALL}.*"))) == 4
    [file] = [file for file in prove(folder).index.files if file.image]
    assert file.sha256 == hashlib.sha256(joined(folder, TARBALL)).hexdigest()
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True
    )
    tar = subprocess.run(
        f"cat {TARBALL}.* | zstd -dc | tar -tf -", shell=True, cwd=folder, check=True, stdout=-1
    ).stdout
    assert b"manifest.json" in tar


def test_every_blob_is_read_through_the_parts(folder: Path) -> None:
    bundle = prove(folder)
    [image] = bundle.lock.image
    for blob in bundle.image(image, image.platform[0]).blobs:
        assert sum(map(len, bundle.blob(image.ref, blob))) == blob.size


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_missing_part_is_an_error_and_only_it_is_to_be_fetched(folder: Path, number: int) -> None:
    (folder / part(number)).unlink()
    with pytest.raises(BundleError, match=rf"\.00{number}: is missing") as caught:
        open_bundle(folder)
    assert caught.value.hint == "bring this file over again"
    verified = verify(folder)
    assert verified.fetch == (part(number),)
    assert isinstance(verified.error, BundleError)
    assert {f.name: f.state for f in verified.files if f.state != "ok"} == {part(number): "missing"}


def test_a_wrong_part_is_told_beside_a_missing_one(folder: Path) -> None:
    (folder / part(2)).unlink()
    damage(folder / part(3))
    verified = verify(folder)
    assert verified.fetch == (part(2), part(3))
    assert isinstance(verified.error, IntegrityError)


def test_a_tarball_that_is_missing_altogether_is_none_of_loads_business(folder: Path) -> None:
    for number in range(1, 5):
        (folder / part(number)).unlink()
    bundle = open_bundle(folder)
    bundle.check_files()
    [image] = bundle.lock.image
    assert not bundle.has(image, image.platform[0])
    with pytest.raises(BundleError, match=f"{TARBALL}: is missing"):
        bundle.check_image(image, image.platform[0])
    assert verify(folder).fetch == tuple(part(number) for number in range(1, 5))


def swap(folder: Path) -> None:
    (folder / part(2)).rename(folder / "x")
    (folder / part(3)).rename(folder / part(2))
    (folder / "x").rename(folder / part(3))


def resize(folder: Path, by: int) -> None:
    raw = (folder / part(2)).read_bytes()
    (folder / part(2)).write_bytes(raw[:by] if by < 0 else raw + bytes(by))


def replace_by_another(folder: Path) -> None:
    raw = random.Random(9).randbytes((folder / part(4)).stat().st_size)
    (folder / part(4)).write_bytes(raw)


WRONG: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "swapped": (swap, (part(2), part(3)), r"\.002: sha256"),
    "too long": (lambda folder: resize(folder, 1), (part(2),), r"\.002: bytes: 100001, expected"),
    "too short": (lambda folder: resize(folder, -1), (part(2),), r"\.002: bytes: 99999, expected"),
    "empty": (lambda folder: resize(folder, -PART), (part(2),), r"\.002: bytes: 0, expected"),
    "of another": (replace_by_another, (part(4),), r"\.004: sha256"),
    "flipped": (lambda folder: damage(folder / part(3), 5), (part(3),), r"\.003: sha256"),
}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_part_is_named(folder: Path, case: str, *, quick: bool) -> None:
    change, names, message = WRONG[case]
    change(folder)
    with pytest.raises(IntegrityError, match=message):
        prove(folder)
    verified = verify(folder, quick=quick)
    assert verified.fetch == names
    assert {f.name for f in verified.files if f.state == "wrong"} == set(names)


@pytest.mark.parametrize("name", [part(5), TARBALL, "x.001"])
def test_a_part_too_many_is_foreign(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=rf"{name}: does not belong to the bundle") as caught:
        open_bundle(folder)
    assert caught.value.hint is not None
    assert ("split or join" in caught.value.hint) is (name != "x.001")
    assert {f.name for f in verify(folder).files if f.state == "foreign"} == {name}


def test_a_link_in_a_parts_place_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / part(2)).rename(tmp_path / "elsewhere")
    (folder / part(2)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"\.002: not a plain file"):
        open_bundle(folder)


def test_without_the_index_the_parts_go_by_the_sums(folder: Path) -> None:
    (folder / "bundle.json").unlink()
    damage(folder / part(3))
    assert verify(folder).fetch == ("SHA256SUMS", "bundle.json", part(3))


def test_wrong_content_under_right_sums_is_not_fetched_again(folder: Path) -> None:
    damage(folder / part(3))
    raw = (folder / part(3)).read_bytes()
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    old, file["parts"][2]["sha256"] = file["parts"][2]["sha256"], hashlib.sha256(raw).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(index))
    sums = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(sums.replace(old, hashlib.sha256(raw).hexdigest()))
    vouch(folder, "bundle.json")
    verified = verify(folder)
    assert verified.error is not None
    assert verified.fetch == ()
    assert verified.error.hint is not None
    assert "export the bundle again" in verified.error.hint
    assert [f.name for f in verified.files if f.state != "ok"] == [part(1)]


def first_parts(document: dict[str, Any]) -> list[dict[str, Any]]:
    [parts] = [file["parts"] for file in document["files"] if "parts" in file]
    return parts  # type: ignore[no-any-return]


ODD_INDEX: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "swapped": (lambda parts: parts.reverse(), "not numbered from 001 on"),
    "another's": (lambda parts: parts[0].update(name="x.001"), "not numbered from 001 on"),
    "path": (lambda parts: parts[0].update(name="../x.001"), "not numbered from 001 on"),
    "too few": (lambda parts: parts.pop(), "not as long as the whole"),
    "one": (lambda parts: parts.__delitem__(slice(1, None)), "not as long as the whole"),
    "longer": (lambda parts: parts[0].update(size=PART + 1), "not as long as the whole"),
    "empty": (lambda parts: parts[0].update(size=0), "greater than 0"),
    "no sum": (lambda parts: parts[0].update(sha256="x"), "match pattern"),
}


@pytest.mark.parametrize("case", ODD_INDEX)
def test_an_index_whose_parts_are_no_file_is_refused(made: Path, case: str) -> None:
    change, message = ODD_INDEX[case]
    document = json.loads((made / "bundle.json").read_bytes())
    change(first_parts(document))
    with pytest.raises(BundleError, match=message):
        parse_bundle_index(json.dumps(document).encode(), "bundle.json")


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_of_a_part_is_found(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = folder / part(dice.randint(1, 4))
    damage(path, dice.randrange(path.stat().st_size))
    with pytest.raises(AirgapbuildError, match=path.name):
        prove(folder)


def test_inspect_reads_a_first_part_and_those_beside_it(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", packaging=Packaging(part_size=500))
    [image] = inspect(folder / part(1)).images
    [whole] = inspect(folder).images
    assert image.digest == whole.digest
    assert [platform.layers for platform in image.platforms] == [
        platform.layers for platform in whole.platforms
    ]
    with pytest.raises(UsageError, match="is not the first part") as caught:
        inspect(folder / part(2))
    assert caught.value.hint == f"give {folder / part(1)}"
    (folder / part(2)).unlink()
    with pytest.raises(BundleError, match="cut short"):
        inspect(folder / part(1))


def test_inspect_of_a_bundle_in_parts_tells_what_is_missing(tmp_path: Path) -> None:
    folder = make_two(tmp_path / "b", TEXT, packaging=Packaging(part_size=PART))
    (folder / part(2)).unlink()
    here = {
        (image.name, platform.platform): platform.here
        for image in inspect(folder).images
        for platform in image.platforms
    }
    assert here == {
        ("kit", "linux/amd64"): True,
        ("kit", "linux/arm64"): True,
        ("tool", "linux/amd64"): False,
    }
