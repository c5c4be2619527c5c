from __future__ import annotations

import json
from typing import Any

import pytest

from airgapbuild.errors import IntegrityError
from airgapbuild.oci.content import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    content,
    media_type_of,
    parse_config,
    parse_index,
    parse_manifest,
    parse_referrers,
)

DIGEST = "sha256:" + "0" * 64
BLOB = {"mediaType": "application/x", "digest": DIGEST, "size": 3}
PLATFORM = {"os": "linux", "architecture": "arm64", "variant": "v8"}
MANIFEST = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 3, "platform": PLATFORM}


def document(value: Any, media_type: str) -> Any:
    return content(json.dumps(value).encode(), media_type)


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_lists_platforms_and_their_attestations(media_type: str) -> None:
    attestation = {
        **BLOB,
        "mediaType": OCI_MANIFEST,
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": DIGEST,
        },
    }
    index = parse_index(document({"manifests": [MANIFEST, attestation]}, media_type), "x")
    assert [str(platform) for platform, _ in index.platforms] == ["linux/arm64"]
    assert [a.subject for a in index.attestations] == [DIGEST]


def test_entries_of_other_kinds_are_passed_over() -> None:
    artifact = {**BLOB, "artifactType": "application/x"}
    index = parse_index(document({"manifests": [artifact]}, OCI_INDEX), "x")
    assert index.platforms == ()


def test_a_list_of_referrers_names_each_once() -> None:
    artifact = {**BLOB, "mediaType": OCI_MANIFEST, "artifactType": "application/x"}
    listed = parse_referrers(document({"manifests": [artifact, artifact]}, OCI_INDEX), "x")
    assert [(it.media_type, it.digest) for it in listed] == [(OCI_MANIFEST, DIGEST)]


@pytest.mark.parametrize(
    ("said", "means"), [({"artifactType": "application/y"}, "application/y"), ({}, "application/x")]
)
def test_an_artifact_says_what_it_is_and_what_it_refers_to(
    said: dict[str, str], means: str
) -> None:
    parts = {"config": BLOB, "layers": [], "subject": BLOB, **said}
    manifest = parse_manifest(document(parts, OCI_MANIFEST), "x")
    assert (manifest.artifact_type, manifest.subject) == (means, DIGEST)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest_has_a_config_and_layers(media_type: str) -> None:
    manifest = parse_manifest(document({"config": BLOB, "layers": [BLOB, BLOB]}, media_type), "x")
    assert len(manifest.layers) == 2
    assert len(manifest.blobs) == 1


def test_a_config_tells_platform_and_diff_ids() -> None:
    raw = json.dumps({**PLATFORM, "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}).encode()
    config = parse_config(raw, "x")
    assert (str(config.platform), config.diff_ids) == ("linux/arm64", (DIGEST,))
    assert config.on_build == ()


@pytest.mark.parametrize(
    ("said", "on_build"),
    [
        (None, ()),
        ({"OnBuild": None, "Env": ["A=b"]}, ()),
        ({"OnBuild": ["RUN true", "ENV A=b"]}, ("RUN true", "ENV A=b")),
    ],
)
def test_a_config_tells_what_runs_on_build(said: object, on_build: tuple[str, ...]) -> None:
    raw = json.dumps({**PLATFORM, "config": said, "rootfs": {"diff_ids": []}}).encode()
    assert parse_config(raw, "x").on_build == on_build


@pytest.mark.parametrize(
    ("value", "media_type", "message"),
    [
        ([], OCI_INDEX, "not a JSON object"),
        ({"manifests": 3}, OCI_INDEX, "manifests: Input should be a valid list"),
        ({"manifests": [], "layers": []}, OCI_INDEX, "ambiguous document, 'layers'"),
        ({"manifests": [], "config": {}}, OCI_INDEX, "ambiguous document, 'config'"),
        ({"manifests": [], "mediaType": OCI_MANIFEST}, OCI_INDEX, "but calls itself"),
        ({"manifests": []}, "text/html", "media type 'text/html', expected"),
        ({"manifests": [{**MANIFEST, "digest": "sha256:../x"}]}, OCI_INDEX, "is not a digest"),
        ({"manifests": [{**MANIFEST, "size": -1}]}, OCI_INDEX, r"manifests\.0\.size"),
        (
            {
                "manifests": [
                    {
                        **MANIFEST,
                        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
                    }
                ]
            },
            OCI_INDEX,
            "is not a digest",
        ),
    ],
)
def test_what_is_no_index_or_more_than_one_thing_is_refused(
    value: Any, media_type: str, message: str
) -> None:
    with pytest.raises(IntegrityError, match=rf"^moby: .*{message}"):
        parse_index(document(value, media_type), "moby")


def test_what_is_no_manifest_is_refused() -> None:
    with pytest.raises(IntegrityError, match="ambiguous"):
        parse_manifest(document({"config": BLOB, "layers": [], "manifests": []}, OCI_MANIFEST), "x")
    with pytest.raises(IntegrityError, match="not JSON"):
        parse_manifest(content(b"\xff", OCI_MANIFEST), "x")
    with pytest.raises(IntegrityError, match="not JSON"):
        parse_manifest(content(b"[" * 100_000, OCI_MANIFEST), "x")
    with pytest.raises(IntegrityError, match="rootfs"):
        parse_config(b"{}", "x")


@pytest.mark.parametrize("said", ["[]", "{}", "7", "null", '["application/json"]', '"text/plain"'])
def test_a_media_type_that_is_none_is_taken_for_ocis(said: str) -> None:
    raw = f'{{"mediaType": {said}, "layers": []}}'.encode()
    assert media_type_of(raw) == OCI_MANIFEST
