"""The start of airgapbuild.pyz, before anything of a program that is not airgapbuild.

With wheels, and on other Pythons, it is run in tests/engines/test_tool.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from airgapbuild.far_side import bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = Path(sys.base_prefix) / "bin" / "python3"
STRANGER = """
import encodings.cp437, hashlib, json, os, pkgutil, platform, pwd, runpy, shutil, sys, tempfile
import zipfile
os.setuid(54321)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Starts it as a user that nobody knows, as containers run at OpenShift."""


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """A file that any user may read, and that unpacks slowly enough for others to start."""
    with TemporaryDirectory(prefix="airgapbuild-") as folder:
        Path(folder).chmod(0o755)
        yield made(Path(folder) / "airgapbuild.pyz")


def made(path: Path) -> Path:
    made_of = {
        "platforms": ["linux/amd64", "linux/arm64"],
        "pythons": ["{}.{}".format(*sys.version_info)],
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(bootstrap.__file__, "__main__.py")
        archive.writestr("tool.json", json.dumps(made_of))
        archive.writestr("own/airgapbuild/__main__.py", "print('it ran')")
        for number in range(500):
            archive.writestr(f"own/airgapbuild/_{number}.py", "")
    return path


def run(program: Path, *options: str, **environ: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, *options, program],
        env={"PATH": os.environ["PATH"], **environ},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_first_starts_at_once_all_run(program: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(5) as threads:
        runs = list(threads.map(lambda _: run(program, XDG_CACHE_HOME=tmp_path), range(5)))
    assert [(done.stdout, done.stderr) for done in runs] == [("it ran\n", "")] * 5
    assert len(list((tmp_path / "airgapbuild").iterdir())) == 1


def test_a_cache_whose_folders_inherit_its_group_will_do(program: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    runs = [run(program, XDG_CACHE_HOME=tmp_path) for _ in range(2)]
    assert [(done.stdout, done.stderr) for done in runs] == [("it ran\n", "")] * 2


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o2770])
def test_a_folder_that_others_may_enter_is_refused(
    program: Path, tmp_path: Path, mode: int
) -> None:
    assert run(program, XDG_CACHE_HOME=tmp_path).returncode == 0
    [folder] = (tmp_path / "airgapbuild").iterdir()
    folder.chmod(mode)
    done = run(program, XDG_CACHE_HOME=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {folder}: is not yours alone\n"
        "hint: remove it; XDG_CACHE_HOME names another folder\n"
    )
    assert list((tmp_path / "airgapbuild").iterdir()) == [folder]


def test_a_cache_that_cannot_be_made_is_told(program: Path) -> None:
    done = run(program, HOME="/dev/null")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        "error: /dev/null/.cache/airgapbuild/.*: Not a directory\n"
        "hint: XDG_CACHE_HOME names another folder\n",
        done.stderr,
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be a user that nobody knows")
def test_a_user_without_a_home_is_told(program: Path) -> None:
    done = run(program, "-c", STRANGER)
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "error: this user has no home folder: HOME is not set\n"
        "hint: XDG_CACHE_HOME names another folder\n"
    )
