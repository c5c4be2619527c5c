"""Where a user's files are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from airgapbuild.files import expanded, home
from tests.support.program import PROGRAM, environment

HOMELESS = """
import os, pwd
from airgapbuild.errors import UsageError
from airgapbuild.files import home
os.setuid(54321)
try:
    home({})
except UsageError as error:
    print(f"{error}; {error.hint}")
"""


def test_the_home_folder_is_what_the_environment_says(tmp_path: Path) -> None:
    assert home({"HOME": str(tmp_path)}) == tmp_path
    assert home({}) == Path.home()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be a user that nobody knows")
def test_without_a_home_folder_it_is_told() -> None:
    """As in a container that runs as any number."""
    environ = {name: value for name, value in environment().items() if name != "HOME"}
    code = [str(PROGRAM.parent / "python"), "-c", HOMELESS]
    done = subprocess.run(code, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "this user has no home folder: HOME is not set, and the system knows none; "
        "set HOME to a folder of the user's\n"
    )


def test_a_user_that_nobody_knows_has_no_folder(tmp_path: Path) -> None:
    assert expanded(Path("~nobody-of-this-name/a")) == Path("~nobody-of-this-name/a")
    assert expanded(Path("~/a")) == Path.home() / "a"
    assert expanded(tmp_path) == tmp_path
