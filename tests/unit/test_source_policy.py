"""The source policy of a lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airgapbuild.destination import parse_destination
from airgapbuild.lockfile import Lock, write_lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from airgapbuild.source_policy import source_policy
from tests.support.memory import MemorySource
from tests.support.program import airgapbuild, document

MANIFEST = """
version = 1
name = "b"
platforms = ["linux/amd64"]

[images.kit]
ref = "moby/buildkit:v1"
role = "builder"

[images.python]
ref = "python:3.13"
role = "base"
tags = ["corp.example/python:3"]

[builder]
name = "b"
image = "kit"
"""
SEALED = MANIFEST + "sealed = true\n"
MIRRORS = """
[buildkitd.registry."docker.io"]
mirrors = ["inside.example:5000/hub", "other.example"]
"""
SCHEME = "docker-image://"


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    for name in ("moby/buildkit:v1", "python:3.13"):
        source.publish(name, "linux/amd64", layers=(name.encode(),))
    return source


def locked(text: str, source: MemorySource) -> Lock:
    return resolve(parse_manifest(text.encode(), "m", folder=Path()), source)


def rules(policy: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [rule for rule in policy["rules"] if rule["action"] == action]


def converted(policy: dict[str, Any]) -> dict[str, str]:
    """What becomes of each name, without the scheme."""
    assert all(it["selector"]["match_type"] == "EXACT" for it in rules(policy, "CONVERT"))
    return {
        it["selector"]["identifier"].removeprefix(SCHEME): it["updates"]["identifier"].removeprefix(
            SCHEME
        )
        for it in rules(policy, "CONVERT")
    }


def test_each_name_becomes_its_digest_at_the_registry(source: MemorySource) -> None:
    lock = locked(MANIFEST, source)
    kit, python = (image.digest for image in lock.image)
    policy = source_policy(lock, parse_destination("inside.example:5000/all"))
    assert converted(policy) == {
        written: f"inside.example:5000/all/{repository}@{digest}"
        for name, tag, repository, digest in (
            ("docker.io/moby/buildkit", "v1", "moby/buildkit", kit),
            ("docker.io/library/python", "3.13", "library/python", python),
            ("corp.example/python", "3", "python", python),
        )
        for written in (f"{name}:{tag}", f"{name}:{tag}@{digest}", f"{name}@{digest}")
    }
    assert (policy["version"], len(policy["rules"])) == (1, 9)


def test_without_a_registry_the_first_mirror_counts(source: MemorySource) -> None:
    lock = locked(MANIFEST + MIRRORS, source)
    python = lock.image[1].digest
    found = converted(source_policy(lock))
    assert found["docker.io/library/python:3.13"] == (
        f"inside.example:5000/hub/library/python@{python}"
    )
    # It has no mirror: it is pinned where it is, and what is pinned already stays.
    assert found["corp.example/python:3"] == f"corp.example/python@{python}"
    assert f"corp.example/python@{python}" not in found


def test_a_sealed_builder_gets_nothing_else(source: MemorySource) -> None:
    policy = source_policy(locked(SEALED + MIRRORS, source))
    first, *rest = policy["rules"]
    assert first == {
        "action": "DENY",
        "selector": {"identifier": f"{SCHEME}*", "match_type": "WILDCARD"},
    }
    allowed = rules(policy, "ALLOW")
    assert rest[: len(allowed)] == allowed  # after what is denied: the last one counts
    assert {rule["selector"]["identifier"].removeprefix(SCHEME) for rule in allowed} == set(
        converted(policy).values()
    )


def test_one_that_is_not_sealed_may_ask_for_others(source: MemorySource) -> None:
    policy = source_policy(locked(MANIFEST, source), parse_destination("inside.example"))
    assert rules(policy, "DENY") == rules(policy, "ALLOW") == []


def test_an_image_without_a_tag_goes_by_its_digest(source: MemorySource) -> None:
    digest = source.publish("one:1", "linux/amd64").descriptor.digest
    text = f'{MANIFEST}\n[images.one]\nref = "one@{digest}"\nrole = "base"\n'
    found = converted(source_policy(locked(text, source), parse_destination("i.example")))
    assert found[f"docker.io/library/one@{digest}"] == f"i.example/library/one@{digest}"
    assert len(found) == 10


def test_the_command_prints_it(source: MemorySource, tmp_path: Path) -> None:
    lock = locked(SEALED, source)
    write_lock(tmp_path / "airgapbuild.lock", lock)
    wanted = json.loads(json.dumps(source_policy(lock, parse_destination("i.example"))))
    options = ("source-policy", "--registry", "i.example")
    assert json.loads(airgapbuild(*options, cwd=tmp_path).stdout) == wanted
    told = document(airgapbuild(*options, "--json", "airgapbuild.lock", cwd=tmp_path))
    assert told["policy"] == wanted


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--registry", "https://i.example"), 2, "'https://i.example' is no registry"),
        (("none.lock",), 4, "none.lock: there is no such file"),
    ],
)
def test_what_cannot_be_is_told(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = airgapbuild("source-policy", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
