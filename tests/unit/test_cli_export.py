"""What `airgapbuild export` and `inspect` tell of a bundle."""

from __future__ import annotations

import shutil
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.repack import repack_folder
from tests.support.forgery import make_bundle, make_project
from tests.support.program import PROGRAM, airgapbuild, document, environment
from tests.support.terminal import Typist

if TYPE_CHECKING:
    from pathlib import Path


FILES_ARE_SMALL = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def test_who_does_not_answer_is_shown_on_a_terminal(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as registry,
        socket.socket(socket.AF_UNIX) as daemon,
    ):
        host = f"127.0.0.1:{registry.getsockname()[1]}"
        make_project(tmp_path, f"{host}/tool:1")
        shutil.rmtree(tmp_path / "bundles")
        assert_shown(tmp_path, f"ask {host}", "export")
        daemon.bind(str(tmp_path / "d"))
        daemon.listen()
        url = f"unix://{tmp_path}/d"
        assert_shown(tmp_path, f"ask the daemon at {url}", "inventory", "--host", url)


def assert_shown(folder: Path, words: str, *command: str) -> None:
    """Ends a command as soon as it has shown these words on its terminal."""
    env = environment({"COLUMNS": "200", "TERM": "xterm", "HOME": str(folder)})
    typist = Typist((PROGRAM, *command), folder, env)
    typist.wait_for(words.encode())
    typist.running.kill()
    typist.end()


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


def test_a_folder_that_cannot_be_written_is_told_with_what_writes_elsewhere(project: Path) -> None:
    (project / "file").write_text("")
    done = airgapbuild("export", "-o", "file/b", cwd=project)
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (
        2,
        ["error: file/b: Not a directory", " hint: -o FOLDER writes elsewhere"],
    )


def test_a_bundle_s_folder_without_room_is_told_with_what_can_be_done(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b", Packaging(part_size=90_000))
    before = sorted(folder.iterdir())
    small = (sys.executable, "-c", FILES_ARE_SMALL)
    done = airgapbuild("join", "b", cwd=tmp_path, prefix=small)
    assert (done.returncode, done.stderr) == (
        2,
        "error: b: File too large\n"
        " hint: copy the bundle to a folder that can be written, and has room\n",
    )
    assert sorted(folder.iterdir()) == before


def test_one_thing_is_not_told_as_many(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    told = airgapbuild("lock", "--check", cwd=project).stdout
    assert told == "airgapbuild.lock is fresh: 1 image\n"
    make_bundle(tmp_path / "b", Packaging(part_size=90_000))
    done = airgapbuild("join", "b", cwd=tmp_path)
    assert done.stdout.endswith("b: 1 tarball is packed anew\n")
    assert "  1 tarball  " in done.stderr
    told = airgapbuild("layout", "ls", "--layout", "none", cwd=tmp_path).stdout
    assert told == "none: 0 names, 0 B\n"
