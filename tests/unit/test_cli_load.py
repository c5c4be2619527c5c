"""What `airgapbuild load` refuses before it asks a daemon anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.forgery import make_two
from tests.support.program import airgapbuild

if TYPE_CHECKING:
    from pathlib import Path

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
    theirs.write_text(
        json.dumps({"Name": "airgap", "Driver": "docker-container", "Nodes": [node]})
    )
    text = MANIFEST.partition("driver-opts")[0]
    done = airgapbuild("load", make_two(tmp_path / "b", text), env=env)
    assert (done.returncode, done.stderr) == (
        9,
        "error: builder 'airgap' exists, and is not airgapbuild's\n"
        " hint: choose another [builder] name, or remove it: docker buildx rm airgap\n",
    )
