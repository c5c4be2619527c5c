from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from airgapbuild import __version__
from airgapbuild.lockfile import write_lock
from airgapbuild.manifest import read_manifest
from airgapbuild.oci.content import OCI_INDEX, Descriptor
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.layout import Layout
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource
from tests.support.program import HEARS_SIGNALS, PROGRAM, airgapbuild, document, environment

COMMANDS = (
    *("init", "lock", "outdated", "inventory", "export", "load", "unload", "push", "serve"),
    *(
        "build",
        "check",
        "contexts",
        "source-policy",
        "env",
        "layout ls",
        "layout rm",
        "layout prune",
        "doctor",
    ),
    *("verify", "inspect", "diff", "report", "split", "join"),
)
MANIFEST = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.one]
ref = "127.0.0.1:{port}/one:1"
role = "tool"
"""


@pytest.fixture
def port() -> int:
    """A port of the loopback where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def project(tmp_path: Path, port: int) -> Path:
    (tmp_path / "airgapbuild.toml").write_text(MANIFEST.format(port=port))
    return tmp_path


@pytest.fixture
def locked(project: Path, port: int) -> Path:
    source = MemorySource()
    source.publish(f"127.0.0.1:{port}/one:1", "linux/amd64")
    lock = resolve(read_manifest(project / "airgapbuild.toml"), source)
    write_lock(project / "airgapbuild.lock", lock)
    return project


def test_the_version_is_the_packages() -> None:
    assert airgapbuild("--version").stdout == f"airgapbuild {__version__}\n"


def test_help_names_every_command_and_exit_code() -> None:
    told = airgapbuild("-h").stdout
    assert airgapbuild("--help").stdout == told
    for command in COMMANDS:
        assert re.search(rf"^│ {command.split()[0]} +\w", told, re.MULTILINE)
    assert "9 builder" in told


def test_help_has_every_command_in_a_panel_and_on_a_line_at_80_columns() -> None:
    told = airgapbuild("--help", env={"COLUMNS": "80", "NO_COLOR": "1"}).stdout
    panels = re.findall(r"^╭─ (.+?) ─+╮$", told, re.MULTILINE)
    assert panels == [
        *("Options", "Connected side", "Bundle", "Isolated side", "Builds", "Registry inside")
    ]
    names = {command.split()[0] for command in COMMANDS}
    assert set(re.findall(r"^│ ([a-z][a-z-]+) +\w.*[.] +│$", told, re.MULTILINE)) == names


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples_and_the_common_options(command: str) -> None:
    told = airgapbuild(*command.split(), "-h").stdout
    assert f"airgapbuild {command}" in told.partition("Examples")[2]
    # What follows `build` is docker's own.
    for option in ("--json", "--quiet", "--verbose", "--color"):
        assert (option in told) == (command != "build")


@pytest.mark.parametrize("module", ["docker", "zstandard", "urllib3", "pydantic", "uvicorn"])
def test_help_loads_none_of_the_heavy_libraries(module: str) -> None:
    code = f"import sys, airgapbuild.cli; sys.exit({module!r} in sys.modules)"
    subprocess.run([PROGRAM.parent / "python", "-c", code], check=True)


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [PROGRAM.parent / "python", "-m", "airgapbuild", "--version"],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.stdout == f"airgapbuild {__version__}\n"


def test_an_unknown_option_is_a_usage_error() -> None:
    done = airgapbuild("lock", "--nope")
    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_init_writes_a_manifest_once(tmp_path: Path) -> None:
    done = airgapbuild("init", cwd=tmp_path)
    assert done.stdout == "airgapbuild.toml is written; edit it, then: airgapbuild lock\n"
    read_manifest(tmp_path / "airgapbuild.toml")
    again = airgapbuild("init", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == (
        "error: airgapbuild.toml: is there already\n hint: --force replaces it\n"
    )
    assert airgapbuild("init", "--force", cwd=tmp_path).returncode == 0


def test_init_answers_in_json(tmp_path: Path) -> None:
    done = airgapbuild("init", "--json", "m.toml", cwd=tmp_path)
    assert document(done) == {"version": 1, "command": "init", "manifest": "m.toml"}


def test_a_problem_of_the_manifest_is_exit_3(project: Path) -> None:
    path = project / "airgapbuild.toml"
    path.write_text(path.read_text().replace("role", "rule"))
    done = airgapbuild("lock", cwd=project)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "error: airgapbuild.toml:7: images.one.rule: unknown key, did you mean 'role'?\n"
    )
    assert not (project / "airgapbuild.lock").exists()


def test_an_error_is_a_document_too(project: Path) -> None:
    (project / "airgapbuild.toml").write_text("version = ")
    done = airgapbuild("lock", "--json", cwd=project)
    assert done.returncode == 3
    assert document(done) == {
        "version": 1,
        "command": "lock",
        "error": {
            "kind": "manifest",
            "exit": 3,
            "problems": ["airgapbuild.toml:1:11: not TOML: Invalid value"],
            "hint": None,
        },
    }


def test_a_registry_that_is_not_there_is_exit_5(project: Path, port: int) -> None:
    done = airgapbuild("lock", cwd=project)
    assert done.returncode == 5
    assert f"127.0.0.1:{port}" in done.stderr
    assert not (project / "airgapbuild.lock").exists()


def test_check_needs_no_network(locked: Path) -> None:
    done = airgapbuild("lock", "--check", cwd=locked)
    assert (done.returncode, done.stdout) == (0, "airgapbuild.lock is fresh: 1 image\n")


@pytest.mark.parametrize("command", [("lock", "--check"), ("export",), ("outdated",)])
def test_a_stale_lock_is_exit_4(locked: Path, command: tuple[str, ...]) -> None:
    path = locked / "airgapbuild.toml"
    path.write_text(path.read_text().replace("one:1", "one:2"))
    done = airgapbuild(*command, cwd=locked)
    assert done.returncode == 4
    assert re.fullmatch(
        r"error: airgapbuild\.lock: stale: images\.one: ref: '\S+one:1' is locked, "
        r"'\S+one:2' is wanted\n hint: `airgapbuild lock` brings it up to date\n",
        done.stderr,
    )
    assert not (locked / "bundles").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lock", "one"), "images are named only with --upgrade"),
        (("lock", "--upgrade", "two"), "no image is called two; there are: one"),
        (("lock", "--upgrade", "--check"), "--check changes nothing, --upgrade does"),
        (("export", "--level", "9"), "--level is for compact layers only"),
        (("export", "--exact", "--level", "9"), "--level is for compact layers only"),
        (("export", "--compact", "--level", "20"), "Invalid value for '--level': "),
    ],
)
def test_options_that_do_not_fit_are_exit_2(
    locked: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = airgapbuild(*arguments, cwd=locked)
    assert done.returncode == 2
    assert message in done.stderr


def test_load_of_nothing_is_exit_7(tmp_path: Path) -> None:
    done = airgapbuild("load", "nothing", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stderr == (
        "error: nothing: there is no such folder\n"
        " hint: give the folder that `airgapbuild export` wrote\n"
    )


@pytest.mark.parametrize("command", ["export", "outdated"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_ends_at_once_and_leaves_nothing(
    locked: Path, port: int, number: signal.Signals, code: int, command: str
) -> None:
    with socket.create_server(("127.0.0.1", port)) as silent:  # accepts, and never answers
        running = subprocess.Popen(
            [*HEARS_SIGNALS, PROGRAM, command],
            cwd=locked,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        asked, _ = silent.accept()
        with asked:
            asked.recv(1)
            running.send_signal(number)
            _, told = running.communicate(timeout=10)
    assert running.returncode == code
    assert told == "interrupted; nothing half-written was left\n"
    assert [path for path in locked.glob("bundles/**/*") if path.is_file()] == []


def test_init_says_how_a_manifest_of_another_name_is_locked(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    done = airgapbuild("init", "ci/x.toml", cwd=tmp_path)
    assert done.stdout == (
        "ci/x.toml is written; edit it, then: airgapbuild lock --file ci/x.toml\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_usage_line_has_the_arguments_as_one_writes_them(command: str) -> None:
    told = airgapbuild(*command.split(), "-h", env={"COLUMNS": "200"}).stdout
    [usage] = re.findall(r"Usage: (.+?) *$", told, re.MULTILINE)
    assert usage.startswith(f"airgapbuild {command} [OPTIONS]")
    assert not re.search(r"\[\[|\]\.\.\.\]|\.\.\.\.|[{}]", usage)
    if command == "load":
        assert usage == "airgapbuild load [OPTIONS] [BASE]... BUNDLE"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_the_terminal_has_not_is_escaped(encoding: str) -> None:
    done = airgapbuild("split", "--help", env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0
    assert "1900MiB, 100MB, \\u2026" in done.stdout


ANSWERS = (("--help",), ("lock", "--check"), ("lock", "--check", "--json"))


def started(locked: Path, arguments: tuple[str, ...], stdout: int) -> tuple[int, str]:
    """The code and the errors of a command whose results go elsewhere."""
    running = subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=locked,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    _, told = running.communicate(timeout=60)
    return running.returncode, told


@pytest.mark.parametrize("arguments", ANSWERS)
def test_a_reader_that_has_gone_ends_it_without_a_word(
    locked: Path, arguments: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert started(locked, arguments, writer) == (141, "")
    finally:
        os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("arguments", ANSWERS)
def test_a_full_disk_below_stdout_is_told(locked: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        code, told = started(locked, arguments, full.fileno())
    assert (code, told) == (2, "error: standard output: No space left on device\n")


def test_no_stdout_at_all_is_no_error(locked: Path) -> None:
    closed = ("sh", "-c", '"$@" >&-', "sh")
    assert airgapbuild("lock", "--check", cwd=locked, prefix=closed).returncode == 0


def test_colours_are_for_terminals_or_on_request(project: Path) -> None:
    assert "\x1b[" not in airgapbuild("lock", "--check", cwd=project).stderr
    assert "\x1b[" in airgapbuild("lock", "--check", "--color", "always", cwd=project).stderr


@pytest.fixture
def docker(tmp_path: Path) -> dict[str, str]:
    """An environment whose docker writes down what it is asked for, and ends with 7."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    lines = ("#!/bin/sh", 'test "$2" = version && exec echo "buildx v0.29.0"')
    program.write_text("\n".join((*lines, 'printf "%s\\n" "$@" >asked', "exit 7", "")))
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


def test_build_hands_over_every_word_and_the_exit_code(
    tmp_path: Path, docker: dict[str, str]
) -> None:
    layout = Layout(tmp_path / "my layout")
    descriptor = Descriptor(media_type=OCI_INDEX, digest=digest_of(b"x"), size=1)
    layout.name(descriptor, ("docker.io/library/a:1",))
    words = ("-q", "--json", "-t", "app", "--build-arg=X=a b", "-f", "Dockerfile", ".")
    done = airgapbuild("build", "--layout", layout.path, *words, cwd=tmp_path, env=docker)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    asked = (tmp_path / "asked").read_text().splitlines()
    source = f"oci-layout://{layout.path}@{descriptor.digest}"
    assert asked[:4] == ["buildx", "build", "--build-context", f"a:1={source}"]
    assert asked[-len(words) :] == [*words]


def test_build_without_anything_loaded_says_so(tmp_path: Path, docker: dict[str, str]) -> None:
    done = airgapbuild("build", "--layout", "none", ".", cwd=tmp_path, env=docker)
    assert done.returncode == 7  # docker's own
    assert done.stderr == (
        f"note: {tmp_path}/none: no image lies in this layout: "
        "the builder looks for FROM elsewhere\n"
    )
    assert (tmp_path / "asked").read_text() == "buildx\nbuild\n.\n"
