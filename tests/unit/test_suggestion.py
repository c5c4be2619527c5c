from __future__ import annotations

import tomllib

import pytest

from airgapbuild.manifest import ImageEntry
from airgapbuild.oci.platform import parse_platform
from airgapbuild.oci.reference import parse_reference
from airgapbuild.suggestion import manifest_lines


def test_the_lines_are_a_table_of_the_manifest() -> None:
    platforms = map(parse_platform, ("linux/amd64", "linux/arm64"))
    told = manifest_lines(parse_reference("docker.io/library/python:3.13"), "base", platforms)
    assert told == (
        "[images.python]\n"
        'ref = "python:3.13"\n'
        'role = "base"\n'
        'platforms = ["linux/amd64", "linux/arm64"]\n'
    )
    ImageEntry.model_validate(tomllib.loads(told)["images"]["python"])


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("alpine", "alpine"),
        ("corp.example:5000/Team/my_app.web:1".lower(), "my-app-web"),
        (f"alpine@sha256:{'a' * 64}", "alpine"),
        ("x/" + "a" * 200, "a" * 60),
    ],
)
def test_a_name_is_one_that_a_manifest_takes(reference: str, name: str) -> None:
    told = manifest_lines(parse_reference(reference), "frontend")
    assert told.startswith(f"[images.{name}]\n")


def test_a_name_that_is_taken_gets_a_number() -> None:
    told = manifest_lines(parse_reference("python:3"), "base", taken={"python", "python-2"})
    assert told.startswith("[images.python-3]\n")
