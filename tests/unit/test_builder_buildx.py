from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airgapbuild.builder.buildx import Buildx
from airgapbuild.errors import BuilderError

if TYPE_CHECKING:
    from pathlib import Path

INSPECTED = """\
Name:          airgap
Driver:        docker-container

Nodes:
Name:             airgap0
Endpoint:         default
Status:           running
BuildKit version: v0.34.2
Platforms:        linux/amd64
"""
REFUSED = """\
#1 [internal] booting buildkit
#1 pulling image 127.0.0.1:1/airgapbuild/buildkit:v1
#1 pulling image 127.0.0.1:1/airgapbuild/buildkit:v1 0.0s done
#1 ERROR: Error response from daemon: dial tcp 127.0.0.1:1: connect: connection refused
------
 > [internal] booting buildkit:
------
ERROR: Error response from daemon: dial tcp 127.0.0.1:1: connect: connection refused
"""


class Programs:
    """A folder with programs of ours as PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"PATH": f"{folder}:/usr/bin:/bin"}

    def program(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def docker(self, out: str = INSPECTED, err: str = "", status: int = 0) -> Buildx:
        (self.folder / "out").write_text(out)
        (self.folder / "err").write_text(err)
        self.program(
            "docker",
            f"""if [ "$2" = version ]; then echo github.com/docker/buildx v0.29.1 28f6246; exit; fi
            echo "$*" > {self.folder}/args; cat {self.folder}/err >&2; cat {self.folder}/out
            exit {status}""",
        )
        return Buildx.find(self.environ)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("github.com/docker/buildx v0.29.1 28f6246", "0.29.1"),
        ("github.com/docker/buildx 0.13.1+ds1-3 0.13.1+ds1-3", "0.13.1+ds1-3"),
    ],
)
def test_the_plugin_is_found_with_its_version(programs: Programs, line: str, version: str) -> None:
    programs.program("docker", f"echo {line}")
    assert Buildx.find(programs.environ) == Buildx(("docker", "buildx"), version)


def test_a_buildx_that_stands_alone_will_do(programs: Programs) -> None:
    programs.program("docker", "echo unknown command >&2; exit 1")
    programs.program("buildx", "echo github.com/docker/buildx v0.38.2")
    assert Buildx.find(programs.environ) == Buildx(("buildx",), "0.38.2")


def test_a_buildx_that_stands_alone_knows_no_tls_by_environment(programs: Programs) -> None:
    programs.program("buildx", "echo github.com/docker/buildx v0.38.2")
    with pytest.raises(BuilderError, match="does not read TLS from the environment") as refused:
        Buildx.find(programs.environ | {"DOCKER_TLS_VERIFY": "1"})
    assert "cli-plugins" in (refused.value.hint or "")


def test_no_buildx_is_told_with_what_to_install(programs: Programs) -> None:
    programs.program("docker", "echo \"docker: 'buildx' is not a docker command.\" >&2; exit 1")
    with pytest.raises(BuilderError, match="`docker buildx version` does not work") as refused:
        Buildx.find(programs.environ)
    assert "install the plugin" in (refused.value.hint or "")


def test_a_boot_gives_the_version_and_passes_the_lines_on(programs: Programs) -> None:
    buildx = programs.docker(err="#1 booting buildkit\n\n#1 DONE 0.5s\n")
    lines: list[str] = []
    assert buildx.boot("airgap", programs.environ, lines.append) == "0.34.2"
    assert lines == ["#1 booting buildkit", "#1 DONE 0.5s"]
    assert (programs.folder / "args").read_text() == "buildx inspect --bootstrap airgap\n"


def test_an_old_buildx_says_it_in_another_word(programs: Programs) -> None:
    buildx = programs.docker(out=INSPECTED.replace("BuildKit version:", "Buildkit:        "))
    assert buildx.boot("airgap", programs.environ, print) == "0.34.2"


def test_a_failure_is_told_in_buildx_s_own_words(programs: Programs) -> None:
    buildx = programs.docker(out="", err=REFUSED, status=1)
    with pytest.raises(BuilderError) as failed:
        buildx.boot("airgap", programs.environ, print)
    assert failed.value.message == (
        "builder 'airgap' does not start: Error response from daemon: dial tcp 127.0.0.1:1: "
        "connect: connection refused"
    )
    assert failed.value.hint == "see for yourself: docker buildx inspect --bootstrap airgap"


def test_a_buildkitd_that_ends_at_once_has_its_say(programs: Programs) -> None:
    log = "#1 0.9 \x02buildkitd: mkdir /buildkitd: mkdir /dev/null: not a directory\n"
    buildx = programs.docker(out="", err=log + "ERROR: Container 1 is restarting\n", status=1)
    with pytest.raises(BuilderError, match="start: buildkitd: mkdir /dev/null: not a directory"):
        buildx.boot("airgap", programs.environ, print)


def test_an_error_in_the_answer_counts_too(programs: Programs) -> None:
    # A node that cannot be asked is no failure to `buildx inspect`.
    buildx = programs.docker(out="Name: airgap\nName: airgap0\nError: no such host\n")
    with pytest.raises(BuilderError, match="does not start: no such host"):
        buildx.boot("airgap", programs.environ, print)


def test_a_failure_without_an_error_line_ends_with_the_last_lines(programs: Programs) -> None:
    buildx = programs.docker(out="", err="one\ntwo\nthree\nfour\n", status=1)
    with pytest.raises(BuilderError, match="does not start: two; three; four"):
        buildx.boot("airgap", programs.environ, print)


def test_a_silent_failure_has_its_status(programs: Programs) -> None:
    buildx = programs.docker(out="", status=7)
    with pytest.raises(BuilderError, match="does not start: exit status 7"):
        buildx.boot("airgap", programs.environ, print)


def test_every_node_must_be_up(programs: Programs) -> None:
    second = "\nName: farm\nEndpoint: farm\n"
    buildx = programs.docker(out=f"{INSPECTED}{second}Error: no such host\n")
    with pytest.raises(BuilderError, match="does not start: no such host"):
        buildx.boot("airgap", programs.environ, print)
    buildx = programs.docker(out=f"{INSPECTED}{second}BuildKit version: v0.30.0\n")
    assert buildx.boot("airgap", programs.environ, print) == "0.34.2, 0.30.0"


def test_where_there_is_no_buildx_none_is_seen(programs: Programs) -> None:
    programs.program("docker", "exit 1")
    assert Buildx.look(programs.environ) is None
