"""Where in a registry images go."""

from __future__ import annotations

from pathlib import Path

import pytest

from airgapbuild.destination import parse_destination, places
from airgapbuild.errors import UsageError
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

HEAD = 'version = 1\nname = "b"\nplatforms = ["linux/amd64"]\n'
KIT = '[images.kit]\nref = "moby/buildkit:v1"\nrole = "builder"\ntags = ["moby/buildkit:new"]\n'
BASE = '[images.base]\nref = "python:3.13"\nrole = "base"\n'
OTHER = '[images.other]\nref = "quay.io/library/python:3.13"\nrole = "base"\n'
OWN = '[images.own]\nref = "inside.test:5000/team/own:1"\nrole = "tool"\n'
MIRRORS = '[buildkitd.registry."docker.io"]\nmirrors = [{}]\n'


def placed(text: str, destination: str, *, by_mirrors: bool = False) -> dict[str, list[str]]:
    source = MemorySource()
    for line in text.splitlines():
        if line.startswith("ref = "):
            source.publish(line.split('"')[1].partition("@")[0], "linux/amd64")
    manifest = parse_manifest(f"{HEAD}{text}".encode(), "m", folder=Path())
    lock = resolve(manifest, source)
    found = places(lock, parse_destination(destination), by_mirrors=by_mirrors)
    return {name: [str(place) for place in its] for name, its in found.items()}


def refused(text: str, destination: str, *, by_mirrors: bool = False) -> tuple[str, ...]:
    """What is told, the hint last."""
    with pytest.raises(UsageError) as caught:
        placed(text, destination, by_mirrors=by_mirrors)
    return (*caught.value.lines, caught.value.hint or "")


def test_every_name_keeps_its_repository_and_the_builders_own_stays_away() -> None:
    assert placed(KIT + BASE + OWN, "r.test") == {
        "kit": ["r.test/moby/buildkit:v1", "r.test/moby/buildkit:new"],
        "base": ["r.test/library/python:3.13"],
        "own": ["r.test/team/own:1"],
    }


@pytest.mark.parametrize("text", ["r.test:5000/some/where", "r.test:5000/some/where/"])
def test_a_prefix_goes_before_it(text: str) -> None:
    assert placed(BASE, text) == {"base": ["r.test:5000/some/where/library/python:3.13"]}


def test_an_image_without_a_tag_is_known_by_its_digest() -> None:
    digest = MemorySource().publish("python:3.13", "linux/amd64").descriptor.digest
    text = BASE.replace("python:3.13", f"python:3.13@{digest}")
    assert placed(text, "r.test") == {"base": ["r.test/library/python:3.13"]}
    source = MemorySource()
    source.publish("python:3.13", "linux/amd64")
    text = BASE.replace("python:3.13", f"python@{digest}")
    manifest = parse_manifest(f"{HEAD}{text}".encode(), "m", folder=Path())
    found = places(resolve(manifest, source), parse_destination("r.test"), by_mirrors=False)
    assert [str(place) for place in found["base"]] == [f"r.test/library/python@{digest}"]


@pytest.mark.parametrize("destination", ["inside.test:5000", "inside.test:5000/hub"])
def test_by_mirrors_it_goes_where_the_builder_looks(destination: str) -> None:
    mirrors = MIRRORS.format('"other.test", "inside.test:5000/hub", "inside.test:5000/hub/more"')
    assert placed(KIT + BASE + OWN + mirrors, destination, by_mirrors=True) == {
        "kit": [
            "inside.test:5000/hub/moby/buildkit:v1",
            "inside.test:5000/hub/moby/buildkit:new",
        ],
        "base": ["inside.test:5000/hub/library/python:3.13"],
        "own": ["inside.test:5000/team/own:1"],
    }


@pytest.mark.parametrize("mirror", ["inside.test:5000/hubble", "inside.test"])
def test_an_image_that_no_mirror_stands_for_is_told(mirror: str) -> None:
    text = BASE + OTHER + MIRRORS.format(f'"{mirror}"')
    assert refused(text, "inside.test:5000/hub", by_mirrors=True) == (
        "python:3.13: no mirror of docker.io in [buildkitd] is at inside.test:5000/hub",
        "quay.io/library/python:3.13: no mirror of quay.io in [buildkitd] is at "
        "inside.test:5000/hub",
        'push without --rewrite, or give [buildkitd.registry."docker.io"], '
        '[buildkitd.registry."quay.io"] a mirror at inside.test:5000/hub',
    )


def test_two_images_at_one_place_are_told() -> None:
    assert refused(BASE + OTHER, "r.test") == (
        "r.test/library/python:3.13: is the place of both base and other",
        "give their registries mirrors of different paths at r.test in [buildkitd], and push with "
        "--rewrite",
    )


def test_two_images_at_one_mirror_are_told() -> None:
    both = "".join(
        f'[buildkitd.registry."{name}"]\nmirrors = ["r.test"]\n'
        for name in ("docker.io", "quay.io")
    )
    assert refused(BASE + OTHER + both, "r.test", by_mirrors=True)[-1] == (
        "give their registries mirrors of different paths at r.test in [buildkitd]"
    )


@pytest.mark.parametrize("text", ["https://r.test", "r.test/UPPER", "r.test/a:1", "", "/a"])
def test_what_is_no_registry_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no registry|is not a registry host"):
        parse_destination(text)
