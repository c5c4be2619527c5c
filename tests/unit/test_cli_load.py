"""What `airgapbuild load` refuses before it asks a daemon anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airgapbuild.builder.instance import MIRROR, Instance, Node
from airgapbuild.cli.load import builder_lines
from airgapbuild.load import LoadedBuilder
from tests.support.forgery import make_two
from tests.support.program import airgapbuild

MANIFEST = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "kit:1"
role = "builder"
[builder]
name = "airgap"
image = "kit"
driver-opts = { provenance-add-gha = "false" }
"""


def old_buildx(folder: Path) -> dict[str, str]:
    """A machine with buildx 0.29.1, an empty home, and no daemon."""
    docker, home = folder / "bin" / "docker", folder / "home"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\necho github.com/docker/buildx v0.29.1 28f6246\n")
    docker.chmod(0o755)
    home.mkdir()
    return {
        "PATH": f"{docker.parent}:/usr/bin:/bin",
        "HOME": str(home),
        "DOCKER_HOST": f"unix://{folder}/nobody",
    }


def test_an_option_that_the_buildx_here_does_not_know(tmp_path: Path) -> None:
    env, home = old_buildx(tmp_path), tmp_path / "home"
    done = airgapbuild("load", make_two(tmp_path / "b", MANIFEST), env=env)
    assert done.returncode == 9
    error = done.stderr.partition("error: ")[2]
    assert error.startswith(
        "buildx 0.29.1 does not know the driver option 'provenance-add-gha': "
        "buildx 0.30 brought it\n"
    )
    assert list(home.iterdir()) == []


def test_a_default_that_is_not_to_be_used(tmp_path: Path) -> None:
    done = airgapbuild("load", "--default", "--no-use", tmp_path)
    assert done.returncode == 2
    assert "--no-use" in done.stderr


def test_a_builder_of_somebody_else_is_told_before_a_daemon_is_asked(tmp_path: Path) -> None:
    env = old_buildx(tmp_path)
    theirs = tmp_path / "home/.docker/buildx/instances/airgap"
    theirs.parent.mkdir(parents=True)
    node = {"Name": "airgap0", "Endpoint": "default", "DriverOpts": None}
    theirs.write_text(json.dumps({"Name": "airgap", "Driver": "docker-container", "Nodes": [node]}))
    text = MANIFEST.partition("driver-opts")[0]
    done = airgapbuild("load", make_two(tmp_path / "b", text), env=env)
    assert (done.returncode, done.stderr) == (
        9,
        "error: builder 'airgap' exists, and is not airgapbuild's\n"
        " hint: choose another [builder] name, or remove it: docker buildx rm airgap\n",
    )


@pytest.mark.parametrize(
    ("layout", "docker", "has_bases", "command"),
    [
        (None, "docker", True, "airgapbuild build"),
        (Path("/srv/my layout"), "docker", True, "airgapbuild build --layout '/srv/my layout'"),
        (Path("/srv/l"), "docker --host tcp://a:1", True, "docker --host tcp://a:1 buildx build"),
        (Path("/srv/l"), "docker", False, "docker buildx build"),
    ],
)
def test_the_command_that_builds_names_a_layout_of_one_s_own(
    layout: Path | None, docker: str, has_bases: bool, command: str
) -> None:
    builder = LoadedBuilder(Instance("b", (Node("b0", "default"),)), None, True)
    lines = builder_lines(builder, docker, layout, has_bases=has_bases)
    assert lines == ["builder b is written, not started", f"now: {command} --builder b ."]


def test_a_builder_s_mirror_is_told() -> None:
    node = Node("b0", "default", {MIRROR: "http://127.0.0.1:5999"})
    builder = LoadedBuilder(Instance("b", (node,)), None, True, is_current=True, buildkit="v1")
    assert builder_lines(builder, "docker", None, has_bases=False) == [
        "builder b runs BuildKit v1, and is the current one",
        "its first mirror is http://127.0.0.1:5999: airgapbuild serve must run there",
        "now: docker buildx build .",
    ]
