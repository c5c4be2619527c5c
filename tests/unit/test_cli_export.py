"""What `airgapbuild export` and `inspect` tell of a bundle."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from airgapbuild.repack import repack_folder
from tests.support.forgery import make_project
from tests.support.program import PROGRAM, airgapbuild, document, environment
from tests.support.terminal import Typist

if TYPE_CHECKING:
    from pathlib import Path


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
