"""Split and join: in place, the same bytes as an export, and killed at every file operation."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.export import export
from airgapbuild.repack import repack_folder
from airgapbuild.verify import verify
from tests.support.forgery import TARBALL, make_bundle, make_two, vouch
from tests.support.program import airgapbuild, document
from tests.unit.test_verify import TEXT, damage

if TYPE_CHECKING:
    from airgapbuild.lockfile import Lock
    from tests.support.memory import MemorySource

from tests.unit.test_export import contents, lock, source

__all__ = ["lock", "source"]

PART = 90_000
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.chmod"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Path]:
    """One bundle of three tarballs, exported with each of these part sizes."""
    folder = tmp_path_factory.mktemp("packed")
    return {
        size: make_two(folder / str(size), TEXT, packaging=Packaging(part_size=size))
        for size in (None, PART, 2 * PART, 10 * PART)
    }


@pytest.mark.parametrize("before", [None, PART, 2 * PART])
@pytest.mark.parametrize("after", [None, PART, 2 * PART])
def test_what_comes_out_is_what_export_writes(
    packed: dict[int | None, Path], tmp_path: Path, before: int | None, after: int | None
) -> None:
    folder = Path(shutil.copytree(packed[before], tmp_path / "b"))
    repacked = repack_folder(folder, after)
    assert contents(folder) == contents(packed[after])
    assert len(repacked.written) == (0 if before == after else 3)
    assert verify(folder).error is None


def test_what_is_packed_as_wanted_is_not_touched(
    packed: dict[int | None, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(packed[PART], tmp_path / "b"))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert repack_folder(folder, PART).written == ()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_file_that_fits_into_one_part_has_no_number(packed: dict[int | None, Path]) -> None:
    assert contents(packed[10 * PART]) == contents(packed[None])


@pytest.mark.parametrize("name", [TARBALL, f"{TARBALL}.002"])
def test_wrong_content_stops_it_before_anything_is_lost(
    packed: dict[int | None, Path], tmp_path: Path, name: str
) -> None:
    before, after = (PART, None) if name.endswith("002") else (None, PART)
    folder = Path(shutil.copytree(packed[before], tmp_path / "b"))
    damage(folder / name)
    damaged = (folder / name).read_bytes()
    with pytest.raises(IntegrityError, match=f"{name}: sha256"):
        repack_folder(folder, after)
    assert (folder / name).read_bytes() == damaged
    assert verify(folder).fetch == (name,)


def test_the_whole_must_be_what_the_index_says(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", packaging=Packaging(part_size=PART))
    raw = (folder / "bundle.json").read_text()
    [file] = [file for file in open_bundle(folder).index.files if file.image]
    (folder / "bundle.json").write_text(raw.replace(file.sha256, "0" * 64))
    vouch(folder, "bundle.json")
    with pytest.raises(IntegrityError, match=f"{TARBALL}: sha256 of the whole"):
        repack_folder(folder, None)
    assert not (folder / TARBALL).exists()


def test_all_tarballs_must_be_there(packed: dict[int | None, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed[None], tmp_path / "b"))
    (folder / TARBALL).unlink()
    with pytest.raises(BundleError, match=f"{TARBALL}: is missing"):
        repack_folder(folder, PART)


def test_more_parts_than_there_are_numbers_are_refused_before_the_first_is_made(
    packed: dict[int | None, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(packed[None], tmp_path / "b"))
    with pytest.raises(BundleError, match="999 is the most"):
        repack_folder(folder, 10)
    assert contents(folder) == contents(packed[None])


def test_nobody_else_is_at_work_in_the_folder(
    packed: dict[int | None, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(packed[None], tmp_path / "b"))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="another export, split or join is at work here"):
            repack_folder(folder, PART)
    finally:
        os.close(handle)


def killed_at(number: int, folder: Path, part_size: int | None) -> bool:
    """Repacks in a process that dies before its file operation of this number; whether it did."""
    child = os.fork()
    if not child:
        left = number

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in FILE_EVENTS and str(folder) in str(arguments[0]):
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(count)
        repack_folder(folder, part_size)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_kill_at_any_file_operation_loses_nothing_and_the_next_run_ends_it(
    tmp_path: Path,
) -> None:
    """From one part size to another: parts are joined, and the whole is split."""
    after = 2 * PART
    made = make_bundle(tmp_path / "before", packaging=Packaging(part_size=PART))
    wanted = contents(make_bundle(tmp_path / "after", packaging=Packaging(part_size=after)))
    number = 0
    while True:
        folder = Path(shutil.copytree(made, tmp_path / "b"))
        dead = killed_at(number, folder, after)
        repack_folder(folder, after)
        assert contents(folder) == wanted, number
        shutil.rmtree(folder)
        if not dead:
            break
        number += 1
    assert number > 30


def test_the_way_back_from_any_kill_is_open_too(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "before")
    number = 0
    dead = True
    while dead:
        folder = Path(shutil.copytree(made, tmp_path / "b"))
        dead = killed_at(number, folder, PART)
        repack_folder(folder, None)
        assert contents(folder) == contents(made), number
        shutil.rmtree(folder)
        number += 1


def test_export_packs_anew_what_is_there_and_fetches_nothing(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    folder, direct = tmp_path / "b", tmp_path / "direct"
    export(lock, source, folder)
    for part_size in (PART, 2 * PART, None, PART):
        source.asked.clear()
        exported = export(lock, source, folder, packaging=Packaging(part_size=part_size))
        assert source.asked == []
        assert exported.changed
        assert len(exported.written) == 3
        export(lock, source, direct, packaging=Packaging(part_size=part_size))
        assert contents(folder) == contents(direct)
        shutil.rmtree(direct)
    assert not export(lock, source, folder, packaging=Packaging(part_size=PART)).changed


@pytest.mark.parametrize("before", [None, PART, 2 * PART])
@pytest.mark.parametrize("after", [None, PART, 2 * PART])
def test_export_goes_on_from_parts_that_no_sums_vouch_for(
    lock: Lock, source: MemorySource, tmp_path: Path, before: int | None, after: int | None
) -> None:
    export(lock, source, tmp_path / "b", packaging=Packaging(part_size=before))
    (tmp_path / "b" / "SHA256SUMS").unlink()
    exported = export(lock, source, tmp_path / "b", packaging=Packaging(part_size=after))
    export(lock, source, tmp_path / "direct", packaging=Packaging(part_size=after))
    assert contents(tmp_path / "b") == contents(tmp_path / "direct")
    assert exported.fetched == 0 or before != after


@pytest.mark.parametrize("name", ["bundle.json.001", "thesis.tex.001"])
def test_what_only_looks_like_a_part_is_nothing_of_exports(
    lock: Lock, source: MemorySource, tmp_path: Path, name: str
) -> None:
    export(lock, source, tmp_path / "b")
    (tmp_path / "b" / name).write_text("years of work")
    with pytest.raises(BundleError, match=f"{name}: is not a file of a bundle"):
        export(lock, source, tmp_path / "b", packaging=Packaging(part_size=PART))
    assert (tmp_path / "b" / name).read_text() == "years of work"


def test_export_clears_away_what_lies_in_its_tarballs_places(
    lock: Lock, source: MemorySource, tmp_path: Path
) -> None:
    """As after a kill while parts were renamed in a folder with a bundle that was not split."""
    folder = tmp_path / "b"
    export(lock, source, folder)
    wanted = contents(folder)
    name = "busybox_1.37_linux-amd64.oci.tar.zst"
    (folder / f"{name}.001").write_bytes(b"new")
    (folder / f".{name}.part").write_bytes(b"begun")
    (folder / f".{name}.002.part").write_bytes(b"begun")
    export(lock, source, folder)
    assert contents(folder) == wanted


def test_split_and_join_tell_what_they_did(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", packaging=Packaging(part_size=PART))
    whole = contents(make_bundle(tmp_path / "whole"))
    (folder / "SHA256SUMS.sig").write_text("a signature")
    done = airgapbuild("join", folder)
    assert done.returncode == 0
    assert (
        "the signature was of the old SHA256SUMS and is removed: --sign makes another"
        in done.stderr
    )
    assert contents(folder) == whole
    told = document(airgapbuild("split", "--json", folder))
    assert (told["changed"], told["written"], told["signature-removed"]) == (False, [], False)
    assert {file["name"] for file in told["files"]} == whole.keys() - {"SHA256SUMS", "bundle.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("split", "--size", "12 apples"), 2, "--size: '12 apples' is no size"),
        (("split", "--size", "100KB"), 2, "--size: '100KB' is less than 1MiB"),
        (("split", "--size", "1000"), 2, "--size: 1000 is less than 1MiB"),
        (("split",), 7, "there is no such folder"),
        (("join",), 7, "there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_told(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = airgapbuild(*arguments, tmp_path / "nothing")
    assert done.returncode == code
    assert message in done.stderr
