"""`lock` and `outdated` against real registries whose tags move."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.registry import USER, Registry
from tests.integration.pushing import point, remove
from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.engines.layout import Image
    from tests.engines.parts.part import Shelf

MANIFEST = """\
version = 1
name = "b"
platforms = ["linux/amd64"]
[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""
IMAGE = """\
[images.{name}]
ref = "{ref}"
role = "{role}"
"""
BUILDKIT, BUSYBOX = "moby/buildkit", "library/busybox"


class Project:
    """A manifest whose images come from one registry that stands for Docker Hub."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder = folder
        self.registry = registry

    def wants(self, more: str = "", **refs: str) -> None:
        images = [IMAGE.format(name=name, ref=ref, role="tool") for name, ref in refs.items()]
        text = MANIFEST.format(registry=self.registry.address)
        (self.folder / "airgapbuild.toml").write_text("".join((text, *images, more)))

    def run(self, *arguments: str) -> tuple[str, str]:
        """What it says on stdout and stderr."""
        done = airgapbuild(*arguments, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def json(self, *arguments: str) -> dict[str, Any]:
        done = airgapbuild(*arguments, "--json", cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return {image["name"]: image for image in document(done)["images"]}


@pytest.fixture
def project(writable_registry: Registry, tmp_path: Path) -> Project:
    return Project(tmp_path, writable_registry)


@pytest.fixture
def index(images: Mapping[str, Image]) -> str:
    """Of BuildKit."""
    return images["moby/buildkit:v0.34.2"].index


@pytest.fixture
def other(images: Mapping[str, Image]) -> str:
    """Another manifest of BuildKit's repository, for linux/amd64 alone."""
    return images["moby/buildkit:v0.34.2"].platforms["linux/amd64"].manifest


def table(text: str) -> list[list[str]]:
    return [re.split(r"  +", line) for line in text.splitlines() if "  " in line]


def notes(text: str) -> list[str]:
    return [line.removeprefix("note: ") for line in text.splitlines() if line.startswith("note: ")]


def test_lock_tells_which_source_answered_and_none_for_kept_pins(project: Project) -> None:
    project.wants(buildkit="moby/buildkit:v0.34.2")
    _, told = project.run("lock", "-v")
    address = project.registry.address
    assert f"{address}/moby/buildkit:v0.34.2: from {address}" in told.splitlines()
    assert project.json("lock")["buildkit"]["source"] is None
    again = project.json("lock", "--upgrade")["buildkit"]
    assert (again["source"], again["change"]) == (f"{address}/moby/buildkit", "kept")


def test_lock_shows_the_old_and_the_new_of_a_moved_tag(
    project: Project, index: str, other: str
) -> None:
    project.wants(buildkit="moby/buildkit:v0.34.2")
    project.run("lock")
    point(project.registry, BUILDKIT, other, "v0.34.2")
    assert table(project.run("lock")[0])[1][5] == "kept"
    [_, row] = table(project.run("lock", "--upgrade")[0])
    assert row[1:3] == ["moby/buildkit:v0.34.2", f"{index[:19]} → {other[:19]}"]
    assert row[5] == "moved"


def test_lock_shows_the_old_and_the_new_of_a_changed_reference(
    project: Project, index: str, other: str
) -> None:
    point(project.registry, BUILDKIT, other, "v0.35.0")
    project.wants(buildkit="moby/buildkit:v0.34.2")
    project.run("lock")
    project.wants(buildkit="moby/buildkit:v0.35.0")
    [_, row] = table(project.run("lock")[0])
    assert row[1:3] == ["moby/buildkit:v0.34.2 → v0.35.0", f"{index[:19]} → {other[:19]}"]
    project.wants(buildkit="busybox:1.37.0")
    changed = project.json("lock")["buildkit"]
    assert (changed["old"]["ref"], changed["new"]["ref"]) == (
        "docker.io/moby/buildkit:v0.35.0",
        "docker.io/library/busybox:1.37.0",
    )
    assert changed["old"]["digest"] == other


def test_lock_shows_what_else_has_changed(project: Project) -> None:
    project.wants(buildkit="moby/buildkit:v0.34.2", busybox="busybox:1.37.0")
    project.run("lock")
    more = IMAGE.format(name="buildkit", ref="moby/buildkit:v0.34.2", role="builder")
    more += 'tags = ["b:1"]\nplatforms = ["linux/amd64", "linux/arm64"]\n'
    project.wants(more + '[builder]\nname = "a"\nimage = "buildkit"\n')
    told = project.run("lock")[0]
    [_, buildkit, busybox] = table(told)
    assert buildkit[3] == "linux/amd64 → linux/amd64, linux/arm64"
    assert buildkit[5] == "changed: role tool → builder; tags none → b:1"
    assert (busybox[0], busybox[1], busybox[5]) == ("busybox", "busybox:1.37.0", "removed")
    assert told.splitlines()[-2:] == ["[builder] has changed", "airgapbuild.lock is written"]


def test_lock_as_json_has_the_builder_before_and_after(project: Project) -> None:
    buildkit = IMAGE.format(name="buildkit", ref="moby/buildkit:v0.34.2", role="builder")
    project.wants(buildkit)
    project.run("lock")
    project.wants(buildkit + '[builder]\nname = "a"\nimage = "buildkit"\n')
    done = airgapbuild("lock", "--json", cwd=project.folder)
    builder = document(done)["builder"]
    assert builder == {"old": None, "new": {"name": "a", "image": "buildkit"}}


def test_a_floating_tag_is_pinned_with_the_name_of_its_version(
    project: Project, index: str, other: str
) -> None:
    point(project.registry, BUILDKIT, other, "v0.35.0", "v0.36.0-rc1", "nightly")
    project.wants(
        stable="moby/buildkit:buildx-stable-1",
        nightly="moby/buildkit:nightly",
        fixed="moby/buildkit:v0.34.2",
    )
    _, told = project.run("lock")
    assert notes(told) == [
        "images.nightly: moby/buildkit:nightly is a floating tag; "
        "today it is moby/buildkit:v0.35.0",
        "images.stable: moby/buildkit:buildx-stable-1 is a floating tag; "
        "today it is moby/buildkit:v0.34.2",
    ]
    assert notes(project.run("lock")[1]) == []


def test_a_floating_tag_may_have_no_version(project: Project, images: Mapping[str, Image]) -> None:
    busybox = images["library/busybox:1.37.0"]
    point(project.registry, BUSYBOX, busybox.index, "edge")
    point(project.registry, BUSYBOX, busybox.platforms["linux/amd64"].manifest, "1.37.0")
    project.wants(edge="busybox:edge")
    assert notes(project.run("lock")[1]) == ["images.edge: busybox:edge is a floating tag"]


def test_nothing_is_outdated_right_after_lock(project: Project) -> None:
    project.wants(buildkit="moby/buildkit:v0.34.2", edge="busybox:latest")
    project.run("lock")
    assert project.run("outdated")[0] == (
        "IMAGE     REF                    NEWEST\n"
        "buildkit  moby/buildkit:v0.34.2  -       up to date\n"
        "edge      busybox:latest         -       up to date\n"
    )


def test_outdated_tells_newer_versions_of_the_same_scheme(
    project: Project, other: str, index: str
) -> None:
    newer = ("v0.35.0", "v0.100.1", "v0.101.0-rc1", "v0.35.0-rootless", "v1", "0.200.0")
    point(project.registry, BUILDKIT, other, *newer)
    project.wants(buildkit="moby/buildkit:v0.34.2")
    project.run("lock")
    told, _ = project.run("outdated")
    assert table(told)[1] == ["buildkit", "moby/buildkit:v0.34.2", "v0.100.1", "newer"]
    assert told.splitlines()[-1] == (
        "for a newer version: change ref in the manifest, then: airgapbuild lock"
    )
    assert project.json("outdated")["buildkit"] == {
        "name": "buildkit",
        "ref": "moby/buildkit:v0.34.2",
        "digest": index,
        "tagged": index,
        "moved": False,
        "served": True,
        "newer": ["v0.35.0", "v0.100.1"],
        "error": None,
    }


def test_outdated_tells_a_tag_that_moved_and_upgrade_follows_it(
    project: Project, other: str, index: str
) -> None:
    project.wants(buildkit="moby/buildkit:v0.34.2")
    project.run("lock")
    point(project.registry, BUILDKIT, other, "v0.34.2")
    told, _ = project.run("outdated")
    assert table(told)[1][3] == f"moved: {index[:19]} → {other[:19]}"
    assert told.splitlines()[-1] == ("to follow a moved tag: airgapbuild lock --upgrade buildkit")
    found = project.json("outdated")["buildkit"]
    assert (found["tagged"], found["moved"], found["served"]) == (other, True, True)
    project.run("lock", "--upgrade", "buildkit")
    assert table(project.run("outdated")[0])[1][3] == "up to date"


def test_outdated_tells_a_pin_that_is_gone(project: Project, other: str, index: str) -> None:
    project.wants(buildkit="moby/buildkit:v0.34.2")
    project.run("lock")
    point(project.registry, BUILDKIT, other, "v0.34.2")
    remove(project.registry, BUILDKIT, index)
    assert table(project.run("outdated")[0])[1][3] == (
        f"moved: {index[:19]} → {other[:19]}; the pin is no longer served"
    )
    assert project.json("outdated")["buildkit"]["served"] is False
    remove(project.registry, BUILDKIT, other)
    assert table(project.run("outdated")[0])[1][3] == (
        "the tag is gone; the pin is no longer served"
    )


def test_a_reference_by_digest_is_looked_up_by_it(project: Project, index: str) -> None:
    project.wants(buildkit=f"moby/buildkit@{index}")
    assert notes(project.run("lock")[1]) == []
    found = project.json("outdated")["buildkit"]
    assert (found["tagged"], found["moved"], found["served"], found["newer"]) == (
        None,
        False,
        True,
        [],
    )
    assert table(project.run("outdated")[0])[1][3] == "up to date"


def test_the_error_of_one_image_hides_no_other(project: Project, bed: Shelf, other: str) -> None:
    point(project.registry, BUILDKIT, other, "v0.35.0")
    with Registry.start(bed) as passing:
        away = f"{passing.address}/moby/buildkit:v0.34.2"
        project.wants(away=away, buildkit="moby/buildkit:v0.34.2")
        project.run("lock")
    with ThreadPoolExecutor() as threads:  # both wait between their tries
        shown = threads.submit(airgapbuild, "outdated", cwd=project.folder)
        told = threads.submit(airgapbuild, "outdated", "--json", cwd=project.folder)
    done = shown.result()
    assert done.returncode == 5
    refused = f"registry {passing.address}: connection refused, tried 5 times"
    assert table(done.stdout)[1:] == [
        ["away", away, "?", f"error: {refused}"],
        ["buildkit", "moby/buildkit:v0.34.2", "v0.35.0", "newer"],
    ]
    assert done.stderr.splitlines()[-1] == "error: 1 of 2 images could not be looked up: away"
    done = told.result()
    assert done.returncode == 5
    found = {image["name"]: image for image in document(done)["images"]}
    assert found["away"]["error"] == {
        "kind": "registry",
        "exit": 5,
        "problems": [refused],
        "hint": None,
    }
    assert (found["away"]["served"], found["away"]["newer"]) == (None, None)
    assert found["buildkit"]["newer"] == ["v0.35.0"]


def test_a_login_that_is_wanted_is_said_in_the_row_and_the_way_below(
    project: Project, htpasswd_registry: Registry
) -> None:
    address = htpasswd_registry.address
    login = base64.b64encode(":".join(USER).encode()).decode()
    config = project.folder / "docker"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"auths": {address: {"auth": login}}}))
    project.wants(closed=f"{address}/moby/buildkit:v0.34.2")
    env = {"DOCKER_CONFIG": str(config)}
    assert airgapbuild("lock", cwd=project.folder, env=env).returncode == 0
    assert airgapbuild("outdated", cwd=project.folder, env=env).returncode == 0
    done = airgapbuild("outdated", cwd=project.folder)
    assert done.returncode == 5
    assert f"error: registry {address}: authentication required" in table(done.stdout)[1][3]
    assert done.stderr.splitlines()[-1].startswith(f" hint: docker login {address}")
