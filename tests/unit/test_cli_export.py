"""What `airgapbuild export` and `inspect` tell of a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airgapbuild.repack import repack_folder
from tests.support.forgery import make_project
from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def test_commands_that_are_told_can_be_pasted(project: Path) -> None:
    (project / "bundles/b").rename(project / "my bundle")
    told = airgapbuild("export", "-o", "my bundle", "--serial", "1", cwd=project).stdout
    assert told.endswith("carry it over, then: airgapbuild load 'my bundle'\n")
    told = airgapbuild("inspect", "my bundle", cwd=project).stdout
    assert told.endswith("not verified: airgapbuild verify 'my bundle'\n")


def test_a_serial_does_not_vanish_without_a_word(project: Path) -> None:
    assert "note" not in airgapbuild("export", "--serial", "5", cwd=project).stderr
    assert "note" not in airgapbuild("export", "--serial", "6", cwd=project).stderr
    done = airgapbuild("export", cwd=project)
    assert "note: bundles/b: its serial 6 is gone: --serial gives it one\n" in done.stderr
    assert "note" not in airgapbuild("export", cwd=project).stderr


def test_inspect_tells_the_serial_the_size_and_whether_there_is_a_signature(project: Path) -> None:
    plain = airgapbuild("inspect", "bundles/b", cwd=project).stdout
    assert plain.splitlines()[0].endswith("kB, no serial, not signed")
    told = document(airgapbuild("inspect", "--json", "bundles/b", cwd=project))
    assert (told["serial"], told["signed"]) == (None, False)
    listed = document(airgapbuild("export", "--json", cwd=project))["files"]
    assert told["size"] == sum(file["size"] for file in listed)
    airgapbuild("export", "--serial", "5", cwd=project)
    repack_folder(project / "bundles/b", 1000)
    (project / "bundles/b/SHA256SUMS.sig").write_text("of whomever")
    told = document(airgapbuild("inspect", "--json", "bundles/b", cwd=project))
    assert (told["serial"], told["signed"]) == (5, True)
    assert len(told["images"][0]["platforms"][0]["parts"]) > 1
