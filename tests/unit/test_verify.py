from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.verify import Verified, verify
from tests.support.forgery import TARBALL, make_bundle, make_two, members, rebuild, vouch
from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "kit:1"
role = "builder"
[images.tool]
ref = "tool:1"
role = "tool"
platforms = ["linux/amd64"]
[builder]
name = "airgap"
image = "kit"
"""
FILES = [
    ("SHA256SUMS", "sums"),
    ("airgapbuild.lock", "lock"),
    ("builder.json", "builder's instance"),
    ("buildkitd.toml", "builder's configuration"),
    ("bundle.json", "index"),
    ("install.sh", "for a far side without airgapbuild"),
    ("kit_1_linux-amd64.oci.tar.zst", "kit linux/amd64"),
    ("kit_1_linux-arm64.oci.tar.zst", "kit linux/arm64"),
    (TARBALL, "tool linux/amd64"),
]

PLAIN_USER = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
)
"""What to start it with to be refused a file: root reads all."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_two(tmp_path_factory.mktemp("made") / "b", TEXT)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "single")


def states(verified: Verified) -> dict[str, str]:
    """The files that are not as they should be."""
    return {file.name: file.state for file in verified.files if file.state != "ok"}


def lines(verified: Verified) -> tuple[str, ...]:
    assert verified.error is not None
    return verified.error.lines


def damage(path: Path, at: int = -1) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("quick", [False, True])
def test_a_whole_bundle_is_told_file_by_file(made: Path, *, quick: bool) -> None:
    verified = verify(made, quick=quick)
    assert verified.error is None
    assert [(file.name, file.what) for file in verified.files] == FILES
    assert {file.name: file.size for file in verified.files} == {
        path.name: path.stat().st_size for path in made.iterdir()
    }
    assert states(verified) == {}


def test_all_problems_are_told_in_one_run(folder: Path) -> None:
    damage(folder / TARBALL)
    damage(folder / "airgapbuild.lock")
    (folder / "kit_1_linux-arm64.oci.tar.zst").unlink()
    (folder / "builder.json").unlink()
    (folder / "notes.txt").write_text("")
    (folder / ".x.part").write_text("")
    verified = verify(folder)
    assert states(verified) == {
        ".x.part": "unfinished",
        "airgapbuild.lock": "wrong",
        "builder.json": "missing",
        "kit_1_linux-arm64.oci.tar.zst": "missing",
        "notes.txt": "foreign",
        TARBALL: "wrong",
    }
    error = verified.error
    assert isinstance(error, IntegrityError)
    assert len(error.lines) == 6
    assert error.hint == (
        "bring over again: airgapbuild.lock, builder.json, kit_1_linux-arm64.oci.tar.zst, "
        f"{TARBALL}; a bundle's folder holds nothing else: move it away; "
        "an export was cut off here: run it again until it ends well"
    )


def test_a_missing_tarball_is_incomplete_though_load_would_take_it(folder: Path) -> None:
    (folder / TARBALL).unlink()
    verified = verify(folder)
    assert states(verified) == {TARBALL: "missing"}
    assert lines(verified) == (f"{folder / TARBALL}: is missing",)
    assert isinstance(verified.error, BundleError)
    assert verified.fetch == (TARBALL,)


@pytest.mark.parametrize("name", ["SHA256SUMS", "bundle.json", "airgapbuild.lock"])
def test_without_one_document_the_others_vouch_for_the_rest(folder: Path, name: str) -> None:
    (folder / name).unlink()
    damage(folder / TARBALL)
    verified = verify(folder)
    assert states(verified) == {name: "missing", TARBALL: "wrong"}
    assert {name, TARBALL} <= {*verified.fetch}


def test_without_any_document_no_file_is_called_foreign(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    (folder / "bundle.json").write_text("{")
    verified = verify(folder)
    assert states(verified) == {"SHA256SUMS": "missing", "bundle.json": "broken"}


def test_a_wrong_line_of_the_sums_does_not_blame_its_file(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    place = path.read_text().index(f"  {TARBALL}") - 1
    damage(path, place)
    verified = verify(folder)
    assert states(verified) == {"SHA256SUMS": "broken"}
    assert lines(verified) == (f"{folder}: SHA256SUMS and bundle.json do not agree on {TARBALL}",)
    assert verified.fetch == ("SHA256SUMS",)


def test_a_wrong_index_is_told_and_the_files_go_by_the_sums(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace('"size": 1', '"size": 2'))
    damage(folder / TARBALL)
    verified = verify(folder)
    assert states(verified) == {"bundle.json": "wrong", TARBALL: "wrong"}
    assert verified.fetch == ("SHA256SUMS", "bundle.json", TARBALL)


def test_a_link_in_a_files_place_is_told(folder: Path, tmp_path: Path) -> None:
    (folder / TARBALL).rename(tmp_path / "elsewhere")
    (folder / TARBALL).symlink_to(tmp_path / "elsewhere")
    assert states(verify(folder)) == {TARBALL: "broken"}


def test_a_foreign_name_reaches_no_terminal_as_it_is(folder: Path) -> None:
    (folder / "\x1b[31m").write_text("")
    (folder / "\udcff").mkdir()
    done = airgapbuild("verify", folder)
    assert done.returncode == 7
    assert r"'\x1b[31m'" in done.stdout
    assert r"'\udcff'" in done.stderr


def test_quick_looks_at_sums_only(single: Path) -> None:
    whole = members(single)
    rebuild(single, dict(reversed(whole.items())) | {"index.json": b"{}"})
    assert verify(single, quick=True).error is None
    assert states(verify(single)) == {TARBALL: "wrong"}


FORGERIES: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a foreign name": (
        lambda whole: whole.update(
            {"index.json": whole["index.json"].replace(b"library/tool", b"library/bash")}
        ),
        "index.json: is not what the lock leads to",
    ),
    "a foreign tag": (
        lambda whole: whole.update(
            {"manifest.json": whole["manifest.json"].replace(b"tool:1", b"bash:5")}
        ),
        "manifest.json: is not what the lock leads to",
    ),
    "a missing blob": (lambda whole: whole.popitem(), "lacks blobs/sha256/"),
    "a surplus blob": (
        lambda whole: whole.update({"blobs/sha256/" + "0" * 64: b""}),
        "is not the image's",
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forger_who_rewrites_the_sums_is_found(single: Path, case: str) -> None:
    edit, message = FORGERIES[case]
    whole = members(single)
    edit(whole)
    rebuild(single, whole)
    verified = verify(single)
    assert message in lines(verified)[0]
    assert verified.fetch == ()
    assert verified.error is not None
    assert verified.error.hint == (
        "its sum is right, so another copy is no better: export the bundle again"
    )


def test_another_order_of_the_members_is_as_good(single: Path) -> None:
    rebuild(single, dict(reversed(members(single).items())))
    assert verify(single).error is None


def test_an_index_that_swaps_two_blobs_is_found(single: Path) -> None:
    index = json.loads((single / "bundle.json").read_bytes())
    [file] = [file for file in index["files"] if file["name"] == TARBALL]
    first, second = file["blobs"][-2:]
    first["offset"], second["offset"] = second["offset"], first["offset"]
    first["length"], second["length"] = second["length"], first["length"]
    (single / "bundle.json").write_text(json.dumps(index))
    vouch(single, "bundle.json")
    assert "its blobs lie elsewhere than bundle.json says" in lines(verify(single))[0]


def test_swapped_tarballs_are_found_though_the_sums_agree(folder: Path) -> None:
    one, other = (folder / f"kit_1_linux-{name}.oci.tar.zst" for name in ("amd64", "arm64"))
    raw = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(raw)
    vouch(folder, one.name)
    vouch(folder, other.name)
    assert set(states(verify(folder))) == {one.name, other.name}


def test_a_platform_without_a_tarball_is_told(folder: Path) -> None:
    index = json.loads((folder / "bundle.json").read_bytes())
    index["files"] = [file for file in index["files"] if file["name"] != TARBALL]
    (folder / "bundle.json").write_text(json.dumps(index))
    (folder / TARBALL).unlink()
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in sums if TARBALL not in line))
    vouch(folder, "bundle.json")
    assert lines(verify(folder)) == (f"{folder}: holds no tool for linux/amd64",)


def test_a_lock_of_a_newer_version_does_not_hide_the_rest(folder: Path) -> None:
    path = folder / "airgapbuild.lock"
    path.write_text(path.read_text().replace("version = 1", "version = 2"))
    vouch(folder, path.name)
    (folder / TARBALL).unlink()
    verified = verify(folder)
    assert states(verified) == {path.name: "broken", TARBALL: "missing"}
    assert "2 is newer than this airgapbuild reads" in lines(verified)[0]
    assert isinstance(verified.error, BundleError)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(made: Path, place: float, bit: int) -> None:
    files = sorted(made.iterdir())
    at = int(place * sum(path.stat().st_size for path in files))
    for path in files:
        if at < path.stat().st_size:
            break
        at -= path.stat().st_size
    whole = path.read_bytes()
    raw = bytearray(whole)
    raw[at] ^= 1 << bit
    path.write_bytes(raw)
    try:
        assert path.name in verify(made).fetch
    finally:
        path.write_bytes(whole)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from([name for name, _ in FILES]),
    at=st.integers(0, 1 << 18),
    size=st.integers(0, 1000),
    other=st.binary(max_size=100),
)
def test_any_other_bytes_of_a_file_are_found(
    made: Path, name: str, at: int, size: int, other: bytes
) -> None:
    path = made / name
    whole = path.read_bytes()
    at %= len(whole)
    raw = whole[:at] + other + whole[at + size :]
    path.write_bytes(raw)
    try:
        assert (name in verify(made).fetch) == (raw != whole)
    finally:
        path.write_bytes(whole)


def test_the_command_tells_a_whole_bundle(made: Path) -> None:
    done = airgapbuild("verify", made.name, cwd=made.parent)
    assert done.returncode == 0
    told = done.stdout.splitlines()
    assert told[0].split() == ["FILE", "SIZE", "WHAT"]
    assert len(told) == len(FILES) + 2
    assert all(line.endswith("  ok") for line in told[1:-1])
    assert told[-1].startswith("b is whole: 9 files, ")


def test_the_command_ends_with_6_where_content_is_wrong(folder: Path) -> None:
    damage(folder / TARBALL)
    (folder / "notes.txt").write_text("")
    done = airgapbuild("verify", "--quick", "--json", folder)
    assert done.returncode == 6
    told = document(done)
    assert (told["whole"], told["quick"], told["fetch"]) == (False, True, [TARBALL])
    assert told["error"]["exit"] == 6
    assert len(told["error"]["problems"]) == 2
    [file] = [file for file in told["files"] if file["name"] == TARBALL]
    assert file["state"] == "wrong"
    assert file["what"] == "tool linux/amd64"
    assert [problem["kind"] for problem in file["problems"]] == ["integrity"]


def test_the_command_ends_with_7_where_files_are_missing(folder: Path) -> None:
    (folder / TARBALL).unlink()
    done = airgapbuild("verify", "-q", folder)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == (
        f"error: {folder / TARBALL}: is missing\n hint: bring over again: {TARBALL}\n"
    )


@pytest.mark.parametrize("name", [TARBALL, "bundle.json", "SHA256SUMS"])
def test_a_file_that_may_not_be_read_need_not_be_brought_again(single: Path, name: str) -> None:
    (single / name).chmod(0)
    done = airgapbuild("verify", single, prefix=PLAIN_USER)
    assert f"{single / name}: Permission denied" in done.stderr
    assert done.stderr.endswith(f"hint: make it readable: chmod -R a+rX {single}\n")
