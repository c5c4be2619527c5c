"""Where a user's files are."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from airgapbuild.baseline import read_baseline
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.cli.signing_key import signing_key
from airgapbuild.engine.endpoint import find_endpoint
from airgapbuild.errors import BundleError, DaemonError, UsageError
from airgapbuild.files import expanded, home, write_if_changed
from airgapbuild.inspection import inspect
from airgapbuild.progress import SILENT
from tests.support.forgery import make_tiny
from tests.support.memory import MemorySource
from tests.support.program import PROGRAM, airgapbuild, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = "x" * 300
"""A name that no file system takes."""
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


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    link, target = tmp_path / "airgapbuild.lock", tmp_path / "shared" / "lock"
    link.symlink_to("shared/lock")
    for content in (b"new", b"newer"):  # it led nowhere before
        assert write_if_changed(link, content)
        assert not write_if_changed(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["lock"]


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    link = tmp_path / "a"
    link.symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        write_if_changed(link, b"x")


def test_a_pipe_is_written_to_and_never_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as beside:
        read = beside.submit(pipe.read_bytes)
        assert write_if_changed(pipe, b"content")
        assert read.result(30) == b"content"
    assert pipe.is_fifo()


# Sends a file through a name of stdout, before and after something else.
TO_STDOUT = """
import sys
from pathlib import Path
from airgapbuild.files import write_if_changed
print("before", flush=True)
assert write_if_changed(Path(sys.argv[1]), b"content\\n")
print("after")
"""


# By a link of the test's own: where this fails it is replaced, not the machine's /dev/stdout.
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("open_as", ["wb", "ab"])
def test_stdout_is_written_to_wherever_it_goes(tmp_path: Path, name: str, open_as: str) -> None:
    (tmp_path / "link").symlink_to(name)
    out = tmp_path / "out"
    out.write_text("first\n")
    command = [sys.executable, "-c", TO_STDOUT, str(tmp_path / "link")]
    with out.open(open_as) as stdout:
        subprocess.run(command, stdout=stdout, check=True)
    first = "first\n" if open_as == "ab" else ""
    assert out.read_text() == f"{first}before\ncontent\nafter\n"
    piped = subprocess.run(command, capture_output=True, check=True)
    assert piped.stdout == b"before\ncontent\nafter\n"


def test_no_more_is_read_of_a_file_than_tells_it_apart(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert write_if_changed(path, b"\0")
    assert path.read_bytes() == b"\0"


def test_a_user_that_nobody_knows_has_no_folder(tmp_path: Path) -> None:
    assert expanded(Path("~nobody-of-this-name/a")) == Path("~nobody-of-this-name/a")
    assert expanded(Path("~/a")) == Path.home() / "a"
    assert expanded(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (7, ("verify", LONG)),
        (7, ("load", LONG)),
        (7, ("push", LONG, "registry.example")),
        (7, ("serve", LONG)),
        (7, ("split", LONG)),
        (2, ("inspect", LONG)),
        (7, ("report", LONG)),
        (2, ("diff", LONG, LONG)),
        (2, ("unload", LONG)),
        (2, ("init", LONG)),
        (2, ("layout", "prune", "--layout", LONG)),
        (2, ("layout", "ls", "--layout", LONG)),
        (3, ("lock", "--file", LONG)),
    ],
)
def test_a_path_of_which_the_system_does_not_tell_is_an_error(
    tmp_path: Path, code: int, command: tuple[str, ...]
) -> None:
    done = airgapbuild(*command, cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert done.returncode == code, done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {LONG}")
    assert error.endswith(": File name too long")
    assert not list(tmp_path.iterdir())


def test_so_are_those_of_options(tmp_path: Path) -> None:
    path = tmp_path / LONG
    told = f"{path}: File name too long"
    with pytest.raises(UsageError, match=told):
        signing_key(path)
    with pytest.raises(UsageError, match=told):
        read_baseline([path], MemorySource(), raw=False, progress=SILENT)
    with pytest.raises(DaemonError, match=f"{path}/cert.pem: File name too long"):
        find_endpoint(None, {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(path)})


def test_disks_are_looked_at_by_doctor_as_far_as_may_be(tmp_path: Path) -> None:
    """The place of a layout that cannot be is the folder in which it would lie."""
    done = airgapbuild("doctor", "--layout", tmp_path / LONG, "--json", env={"HOME": str(tmp_path)})
    assert f"free at {tmp_path / LONG}" in done.stdout


@pytest.fixture
def stick() -> Iterator[Path]:
    """A folder that every user may enter, where pytest's own are their user's."""
    with TemporaryDirectory(prefix="airgapbuild-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def a_stranger() -> Iterator[None]:
    os.seteuid(54321)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_what_belongs_to_another_user_is_told(stick: Path) -> None:
    bundle = make_tiny(stick / "theirs" / "b")
    bundle.parent.chmod(0o700)
    with a_stranger():
        with pytest.raises(BundleError, match=f"{bundle}: Permission denied"):
            open_bundle(bundle)
        with pytest.raises(UsageError, match=f"{bundle}: Permission denied"):
            inspect(bundle)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_beside_a_folder_of_another_user_a_bundle_is_found(stick: Path) -> None:
    """As on a stick, where root has a lost+found."""
    bundle = make_tiny(stick / "builders")
    (stick / "lost+found").mkdir(mode=0o700)
    with a_stranger(), pytest.raises(BundleError, match="is no bundle") as refused:
        open_bundle(stick)
    assert refused.value.hint == f"give a bundle in it: {bundle}"
