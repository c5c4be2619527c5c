"""What an older BuildKit or buildx does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airgapbuild.builder.buildkitd import render
from airgapbuild.builder.fitness import check_config
from airgapbuild.buildkitd import Buildkitd
from airgapbuild.buildkitd.since import Since, parse_release, release_of
from airgapbuild.document import fields_of, model_in
from airgapbuild.errors import BuilderError, ManifestError
from airgapbuild.manifest import parse_manifest
from airgapbuild.oci.reference import parse_reference

HEAD = """\
version = 1
name = "builders"
platforms = ["linux/amd64"]
[images.buildkit]
ref = "{ref}"
role = "builder"
[builder]
name = "airgap"
image = "buildkit"
[buildkitd]
"""
FIRST = HEAD.count("\n") + 1


def problems(ref: str, text: str) -> tuple[str, ...]:
    raw = (HEAD.format(ref=ref) + text).encode()
    try:
        parse_manifest(raw, "a.toml", folder=Path())
    except ManifestError as error:
        return error.lines
    return ()


@pytest.mark.parametrize(
    ("text", "key", "needed", "before"),
    [
        ("proxyNetwork = true", "proxyNetwork", "0.31.0", "0.30.0"),
        ('provenanceEnvDir = "/p"', "provenanceEnvDir", "0.25.0", "0.24.0"),
        ("compaction.enabled = true", "compaction", "0.34.0", "0.33.0"),
        ('log.level = "info"', "log.level", "0.30.0", "0.29.0"),
        ("history.maxEntries = 5", "history", "0.11.0", "0.10.6"),
        ("system.sessionAuthTimeout = 5", "system.sessionAuthTimeout", "0.34.0", "0.33.0"),
        ("worker.oci.selinux = true", "worker.oci.selinux", "0.10.6", "0.10.5"),
        ("worker.oci.maxUsedSpace = 5", "worker.oci.maxUsedSpace", "0.17.0", "0.16.0"),
        ("cache.gha.verify.required = true", "cache", "0.27.0", "0.26.3"),
        (
            "worker.oci.gcpolicy = [{ all = true }, { minFreeSpace = 1 }]",
            "worker.oci.gcpolicy.1.minFreeSpace",
            "0.17.0",
            "0.16.0",
        ),
    ],
)
def test_a_key_that_the_pinned_buildkit_does_not_know_is_told(
    text: str, key: str, needed: str, before: str
) -> None:
    assert problems(f"moby/buildkit:v{before}", text) == (
        f"a.toml:{FIRST}: buildkitd.{key}: "
        f"it needs BuildKit {needed}, and the builder has {before}",
    )
    assert problems(f"moby/buildkit:v{needed}", text) == ()
    assert problems(f"registry.corp.example/mirror/buildkit:v{needed}-rootless", text) == ()


@pytest.mark.parametrize(
    ("text", "what", "needed", "before"),
    [
        ('history.maxAge = "48h"', "a value as text", "0.12.0", "0.11.6"),
        ('insecure-entitlements = ["device"]', "'device'", "0.20.0", "0.19.0"),
        ('worker.oci.networkMode = "bridge"', "'bridge'", "0.13.0", "0.12.5"),
        (
            'registry."a.example".mirrors = ["m.example/hub"]',
            "a path behind a mirror's host",
            "0.11.0",
            "0.10.6",
        ),
        ('worker.oci.labels = { \'a"b\' = "x" }', "a key like this one", "0.28.0", "0.27.1"),
        ('registry."[fd00::1]:5000".http = true', "a key like this one", "0.28.0", "0.27.1"),
        (
            'registry."a.example".mirrors = [{ host = "[fd00::1]:5000", http = true }]',
            "a table for an IPv6 address",
            "0.28.0",
            "0.27.1",
        ),
    ],
)
def test_a_value_that_the_pinned_buildkit_chokes_on_is_told(
    text: str, what: str, needed: str, before: str
) -> None:
    (problem,) = problems(f"moby/buildkit:v{before}", text)
    assert problem.startswith(f"a.toml:{FIRST}: buildkitd.")
    assert problem.endswith(f": {what} needs BuildKit {needed}, and the builder has {before}")
    assert problems(f"moby/buildkit:v{needed}", text) == ()


@pytest.mark.parametrize(
    ("text", "since", "by"),
    [
        ("debug = true", "0.30.0", 'log.level = "debug"'),
        ("trace = true", "0.30.0", 'log.level = "trace"'),
        ('worker.oci.gckeepstorage = "10GB"', "0.17.0", "reservedSpace"),
        ("worker.oci.gcpolicy = [{ keepBytes = 5 }]", "0.17.0", "reservedSpace"),
    ],
)
def test_a_deprecated_key_is_for_those_who_have_nothing_else(
    text: str, since: str, by: str
) -> None:
    for ref in ("moby/buildkit:buildx-stable-1", f"moby/buildkit:v{since}"):
        (problem,) = problems(ref, text)
        assert problem.startswith(f"a.toml:{FIRST}: buildkitd.")
        assert problem.endswith(f": is deprecated: write {by}, as since BuildKit {since}")
    assert problems("moby/buildkit:v0.16.0", text) == ()


@pytest.mark.parametrize(
    "ref",
    [
        "moby/buildkit:buildx-stable-1",
        "moby/buildkit:latest",
        "moby/buildkit:v0.10",
        "moby/buildkit@sha256:" + "0" * 64,
        "corp/own-builder:0.1.0",
        "moby/buildkit:nightly-0.1.0",
    ],
)
def test_no_release_is_no_check(ref: str) -> None:
    assert release_of(parse_reference(ref)) is None
    assert problems(ref, "proxyNetwork = true") == ()


def test_where_no_builder_is_named_no_release_is_known() -> None:
    text = HEAD.format(ref="moby/buildkit:v0.1.0").replace('image = "buildkit"\n', "")
    with pytest.raises(ManifestError) as caught:
        parse_manifest((text + "proxyNetwork = true").encode(), "a.toml", folder=Path())
    assert caught.value.lines == ("a.toml:7: builder.image: is missing",)


@pytest.mark.parametrize("wrong", ["worker = 1", "worker.oci = [1]", "worker.oci.gcpolicy = 1"])
def test_what_has_a_wrong_type_is_told_once(wrong: str) -> None:
    assert len(problems("moby/buildkit:v0.9.0", wrong)) == 1


def keys(model: Any, path: str = "") -> dict[str, tuple[Any, ...]]:
    """Every key below a model, and what is known of it."""
    found = {}
    for key, field in fields_of(model).items():
        found[f"{path}{key}"] = tuple(field.metadata)
        if inner := model_in(field.annotation):
            found |= keys(inner, f"{path}{key}.")
    return found


def test_each_release_is_one_that_can_be_compared() -> None:
    facts = [it for metadata in keys(Buildkitd).values() for it in metadata]
    since = [it for it in facts if isinstance(it, Since)]
    assert len(since) > 40
    for fact in since:
        assert str(parse_release(fact.buildkit)) == fact.buildkit


def test_an_editor_shows_the_release() -> None:
    schema = json.loads((Path(__file__).parents[2] / "schemas/manifest.schema.json").read_text())
    tables = schema["$defs"]
    assert tables["Log"]["properties"]["level"]["description"] == "BuildKit 0.30.0 or newer."
    described = tables["GcPolicy"]["properties"]["keepBytes"]
    assert described["deprecated"] is True
    assert "reservedSpace" in described["description"]


def unread(version: str, text: str) -> tuple[str, ...]:
    raw = (HEAD.format(ref="moby/buildkit:latest") + text).encode()
    manifest = parse_manifest(raw, "a.toml", folder=Path())
    try:
        check_config(version, render(manifest.buildkitd.locked))
    except BuilderError as error:
        return error.lines
    return ()


@pytest.mark.parametrize(
    ("text", "problem", "needed", "before"),
    [
        (
            'worker.oci.gcpolicy = [{ keepDuration = "48h" }]',
            "buildkitd.worker.oci.gcpolicy.0.keepDuration: needs buildx 0.11.0",
            "0.11.0",
            "0.10.5",
        ),
        (
            'registry."[fd00::1]:5000".http = true',
            "buildkitd.registry.[fd00::1]:5000: needs buildx 0.32.0",
            "0.32.0",
            "0.31.1",
        ),
    ],
)
def test_what_an_older_buildx_could_not_read_is_told(
    text: str, problem: str, needed: str, before: str
) -> None:
    assert unread(before, text) == (problem,)
    assert unread(f"{before}+ds1-1", text) == (problem,)
    assert unread(needed, text) == ()
    assert unread("deadbeef", text) == ()


def test_what_an_older_buildx_ignores_is_none_of_its_business() -> None:
    assert unread("0.9.0", 'proxyNetwork = true\nlog.level = "info"\n') == ()
