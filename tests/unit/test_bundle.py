from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.index import parse_bundle_index, parse_sums
from airgapbuild.bundle.reader import Bundle, open_bundle
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError, LockError
from airgapbuild.lockfile import parse_lock
from airgapbuild.oci.archive import Member
from airgapbuild.oci.source import read_blob
from tests.support.forgery import (
    TARBALL,
    add,
    forge_blobs,
    make_bundle,
    members,
    rebuild,
    stored,
    vouch,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def prove(folder: Path) -> Bundle:
    """What `load` asks of a bundle before it touches a daemon."""
    bundle = open_bundle(folder)
    bundle.check_files()
    [image] = bundle.lock.image
    bundle.check_image(image, image.platform[0])
    return bundle


def test_a_bundle_proves_itself_and_gives_back_every_blob(made: Path) -> None:
    bundle = prove(made)
    [image] = bundle.lock.image
    documents = bundle.image(image, image.platform[0])
    assert str(documents.parsed_config.platform) == "linux/amd64"
    for blob in documents.blobs:
        assert len(read_blob(bundle, image.ref, blob)) == blob.size


def test_what_lies_in_a_tarball_that_has_not_come_is_told_by_the_tarball_s_name(
    folder: Path,
) -> None:
    (folder / TARBALL).unlink()
    bundle = open_bundle(folder)
    [image] = bundle.lock.image
    with pytest.raises(BundleError, match=rf"/b/{TARBALL}: is missing") as caught:
        bundle.manifest(image.ref.with_digest(image.platform[0].manifest))
    assert caught.value.hint == "bring this file over, too"


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_byte_anywhere_is_found(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = dice.choice(sorted(folder.iterdir()))
    raw = bytearray(path.read_bytes())
    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    path.write_bytes(raw)
    with pytest.raises((IntegrityError, BundleError)):
        prove(folder)


@pytest.mark.parametrize(
    "name", ["SHA256SUMS", "bundle.json", "airgapbuild.lock", "buildkitd.toml"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: is missing") as caught:
        prove(folder)
    assert caught.value.hint == "bring this file over again"


def test_a_missing_tarball_is_named(folder: Path) -> None:
    (folder / TARBALL).unlink()
    with pytest.raises(BundleError, match=TARBALL):
        prove(folder)


def test_a_renamed_tarball_is_a_foreign_file(folder: Path) -> None:
    (folder / TARBALL).rename(folder / f"new-{TARBALL}")
    with pytest.raises(BundleError, match=f"new-{TARBALL}: does not belong to the bundle"):
        prove(folder)


def test_an_extra_file_is_foreign(folder: Path) -> None:
    (folder / "extra").write_text("")
    with pytest.raises(BundleError, match="extra: does not belong to the bundle"):
        prove(folder)


def test_a_link_in_a_files_place_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / TARBALL).rename(tmp_path / "elsewhere")
    (folder / TARBALL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="not a plain file"):
        prove(folder)


@pytest.mark.parametrize("cut", [1, 512, 200_000])
def test_a_cut_tarball_is_refused_even_where_the_sums_agree(folder: Path, cut: int) -> None:
    path = folder / TARBALL
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(IntegrityError, match=f"{TARBALL}: bytes"):
        prove(folder)
    vouch(folder, TARBALL)
    with pytest.raises((BundleError, IntegrityError)):
        prove(folder)


BAD_MEMBERS = {
    "symlink": ("blobs/sha256/" + "0" * 64, b"/etc/passwd", tarfile.SYMTYPE, "not a regular file"),
    "hard link": ("blobs/sha256/" + "0" * 64, b"oci-layout", tarfile.LNKTYPE, "not a regular file"),
    "folder": ("blobs", b"", tarfile.DIRTYPE, "not a regular file"),
    "device": ("blobs/sha256/" + "0" * 64, b"", tarfile.CHRTYPE, "not a regular file"),
    "parent": ("../evil", b"x", tarfile.REGTYPE, "has no place in an image archive"),
    "absolute": ("/etc/cron.d/evil", b"x", tarfile.REGTYPE, "has no place in an image archive"),
    "other name": ("repositories", b"x", tarfile.REGTYPE, "has no place in an image archive"),
    "long name": ("blobs/sha256/" + "0" * 300, b"x", tarfile.REGTYPE, "not a regular file"),
    "wrong blob": ("blobs/sha256/" + "0" * 64, b"x", tarfile.REGTYPE, "0' is not the image's"),
    "twice": ("oci-layout", b"{}", tarfile.REGTYPE, "comes twice"),
}


@pytest.mark.parametrize("case", BAD_MEMBERS)
def test_a_member_that_has_no_place_is_refused(folder: Path, case: str) -> None:
    name, content, kind, message = BAD_MEMBERS[case]

    def edit(tar: tarfile.TarFile, whole: dict[str, bytes]) -> None:
        for member, data in whole.items():
            add(tar, member, data)
        add(tar, name, content, kind)

    forge_blobs(folder, edit)
    with pytest.raises((BundleError, IntegrityError), match=message):
        prove(folder)


def test_a_missing_blob_is_named(folder: Path) -> None:
    whole = members(folder)
    last, _ = whole.popitem()
    rebuild(folder, whole)
    with pytest.raises(BundleError, match=rf"lacks blobs/sha256/{last[-64:]}$"):
        prove(folder)


def test_a_foreign_blob_is_named(folder: Path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    rebuild(folder, {**members(folder), f"blobs/sha256/{digest}": b"x"})
    with pytest.raises(BundleError, match=rf"'blobs/sha256/{digest}' is not the image's"):
        prove(folder)


def test_bytes_after_the_end_are_refused(folder: Path) -> None:
    path = folder / TARBALL
    path.write_bytes(path.read_bytes() + stored(b"more"))
    vouch(folder, TARBALL)
    with pytest.raises(BundleError, match="goes on after its end"):
        prove(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda index: index.update(version=2), "version 2 is newer than this airgapbuild reads"),
        (lambda index: index.update(name=3), "name: Input should be a valid string"),
        (lambda index: index["files"][0].update(name="../x"), "is no file name of a bundle"),
        (lambda index: index.update(extra=1), "extra: Extra inputs"),
        (lambda index: index["files"].pop(), "do not agree"),
    ],
)
def test_an_index_that_says_something_else_is_refused(
    folder: Path, edit: Callable[[dict[str, object]], None], message: str
) -> None:
    index = json.loads((folder / "bundle.json").read_bytes())
    edit(index)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, "bundle.json")
    with pytest.raises(AirgapbuildError, match=message):
        prove(folder)


def test_a_line_of_the_sums_ends_as_sha256sum_reads_it(folder: Path) -> None:
    """A vertical tab is one bit from a line feed, and ends a line for Python alone."""
    raw = (folder / "SHA256SUMS").read_bytes()
    for wrong in (raw.replace(b"\n", b"\x0b", 1), raw.replace(b"\n", b"\r\n"), raw[:-1]):
        (folder / "SHA256SUMS").write_bytes(wrong)
        with pytest.raises(BundleError, match=r"SHA256SUMS:\d+: "):
            prove(folder)


@pytest.mark.parametrize("line", ["x", "0" * 64 + "  ../x", "0" * 64 + " x", "\xff"])
def test_a_sums_file_with_another_line_is_refused(folder: Path, line: str) -> None:
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BundleError, match=r"SHA256SUMS:\d+: not a line of sha256sum"):
        prove(folder)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no such folder"):
        open_bundle(tmp_path / "nothing")


def test_a_file_in_a_bundle_s_place_is_told(made: Path) -> None:
    with pytest.raises(BundleError, match=r"SHA256SUMS: is not a folder"):
        open_bundle(made / "SHA256SUMS")


def test_a_folder_that_is_no_bundle_names_at_most_three_that_lie_in_it(tmp_path: Path) -> None:
    hints = []
    for name in "abcd":
        with pytest.raises(BundleError, match=r": is no bundle$") as caught:
            open_bundle(tmp_path)
        hints.append((caught.value.hint or "").replace(f"{tmp_path}/", ""))
        (tmp_path / name).mkdir()
        (tmp_path / name / "SHA256SUMS").touch()
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path)
    hints.append((caught.value.hint or "").replace(f"{tmp_path}/", ""))
    assert hints == [
        "give the folder that `airgapbuild export` wrote, such as bundles/builders",
        "give a bundle in it: a",
        "give a bundle in it: a, b",
        "give a bundle in it: a, b, c",
        "give a bundle in it: a, b, c …",
    ]


ODD_HEADERS = {
    "pax": tarfile.XHDTYPE,
    "global pax": tarfile.XGLTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
    "fifo": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("case", ODD_HEADERS)
def test_a_header_that_has_no_place_is_refused(folder: Path, case: str) -> None:
    def edit(tar: tarfile.TarFile, whole: dict[str, bytes]) -> None:
        for member, data in whole.items():
            add(tar, member, data)
        add(tar, "oci-layout", b"", ODD_HEADERS[case])

    forge_blobs(folder, edit)
    with pytest.raises(BundleError, match="not a regular file"):
        prove(folder)


def bomb(folder: Path, first: bytes, rest: bytes) -> None:
    """The tarball begins with these bytes and goes on with frames that decode to gigabytes."""
    raw = (folder / TARBALL).read_bytes()
    index = json.loads((folder / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    behind = stored(first) + rest
    for blob in file["blobs"]:
        blob["offset"] += len(behind)
    (folder / TARBALL).write_bytes(behind + raw)
    (folder / "bundle.json").write_text(json.dumps(index))
    vouch(folder, TARBALL)


@pytest.mark.parametrize("announced", ["index.json", "blobs/sha256/" + "0" * 64])
def test_frames_that_decode_to_gigabytes_are_left_at_once(folder: Path, announced: str) -> None:
    frame = zstandard.ZstdCompressor().compress(bytes(4 << 20))
    bomb(folder, Member(announced, 1 << 40).header, frame * 16_000)
    with pytest.raises((BundleError, IntegrityError), match=r"expected \d+|not the image's"):
        prove(folder)


def test_a_frame_that_wants_gigabytes_of_memory_is_refused(folder: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    frames = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    bomb(folder, b"", frames.compress(bytes(1000)) + frames.flush())
    with pytest.raises(BundleError, match="not zstd"):
        prove(folder)


def test_a_document_deeper_than_the_stack_is_refused(folder: Path) -> None:
    (folder / "bundle.json").write_text("[" * 200_000)
    sums = (folder / "SHA256SUMS").read_text()
    found = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(re.sub(r"\w+(?=  bundle\.json)", found, sums))
    with pytest.raises(BundleError, match="not JSON"):
        prove(folder)


def test_a_lock_deeper_than_the_stack_is_refused() -> None:
    with pytest.raises(LockError, match="nested too deeply"):
        parse_lock(b"x = " + b"[" * 100_000, "airgapbuild.lock", own=True)


def test_a_small_file_that_is_large_is_not_read(folder: Path) -> None:
    with (folder / "bundle.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match="more than 16777216 bytes"):
        prove(folder)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_document_or_an_error(raw: bytes) -> None:
    for parse in (parse_bundle_index, parse_sums, parse_lock):
        with suppress(AirgapbuildError):
            parse(raw, "x")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 1 << 14), other=st.binary(min_size=1, max_size=30))
def test_a_forged_tarball_is_right_or_an_error(made: Path, at: int, other: bytes) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(made, Path(scratch, "b")))
        raw = (folder / TARBALL).read_bytes()
        (folder / TARBALL).write_bytes(raw[:at] + other + raw[at + len(other) :])
        vouch(folder, TARBALL)
        with suppress(AirgapbuildError):
            prove(folder)
