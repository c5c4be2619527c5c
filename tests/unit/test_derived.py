"""The image that a compact bundle brings: what follows from the registry's, and what may not be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airgapbuild.errors import BundleError, IntegrityError
from airgapbuild.oci.content import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    content,
    parse_index,
)
from airgapbuild.oci.derived import MAX_RATIO, derived, derived_from, derived_index, raw_layers
from airgapbuild.oci.digest import Digest, digest_of
from airgapbuild.oci.image import PlatformImage
from airgapbuild.oci.platform import parse_platform

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
RAW = (digest_of(b"one"), digest_of(b"two"))
SIZES = {RAW[0]: 2048, RAW[1]: 10240}


def image(
    *layers: str,
    config: str = OCI_CONFIG,
    kind: str = OCI_MANIFEST,
    diff_ids: tuple[Digest, ...] = RAW,
) -> PlatformImage:
    """An image of 100 bytes a layer, with layers of these media types."""
    raw = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }
    ).encode()
    described = content(raw, config)
    parts = [described.descriptor] + [
        Descriptor(media_type=it, digest=digest_of(bytes([n])), size=100)
        for n, it in enumerate(layers)
    ]
    fields = [json.loads(part.model_dump_json(by_alias=True, exclude_none=True)) for part in parts]
    document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": fields[0],
        "layers": fields[1:],
    }
    manifest = content(json.dumps(document).encode(), kind)
    return PlatformImage(manifest, manifest, described)


def test_the_manifest_is_this() -> None:
    upstream = image(f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+zstd")
    config = upstream.config.descriptor
    made = derived(upstream, SIZES, "x")
    assert made.top.raw.decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        '"config":{"mediaType":"application/vnd.oci.image.config.v1+json",'
        f'"digest":"{config.digest}","size":{config.size}}},'
        '"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",'
        f'"digest":"{RAW[0]}","size":2048}},'
        '{"mediaType":"application/vnd.oci.image.layer.v1.tar",'
        f'"digest":"{RAW[1]}","size":10240}}],'
        f'"annotations":{{"airgapbuild.derived-from":"{upstream.top.descriptor.digest}"}}}}'
    )
    assert made.config == upstream.config
    assert made.upstream == (upstream.top, upstream.manifest)
    assert made.documents == (made.top, made.config, upstream.top)
    assert [layer.digest for layer in made.blobs] == list(RAW)
    assert derived_from(made.manifest) == upstream.top.descriptor.digest
    assert derived_from(upstream.manifest) is None


def test_dockers_own_types_become_ocis() -> None:
    upstream = image(
        f"{DOCKER_LAYER}.gzip", DOCKER_LAYER, config=DOCKER_CONFIG, kind=DOCKER_MANIFEST
    )
    made = derived(upstream, SIZES, "x")
    assert made.top.descriptor.media_type == OCI_MANIFEST
    assert made.parsed_manifest.config.media_type == OCI_CONFIG
    assert made.parsed_manifest.config.digest == upstream.config.descriptor.digest


def test_a_layer_that_an_image_has_twice_comes_once() -> None:
    upstream = image(
        f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+zstd", diff_ids=(*RAW, RAW[0])
    )
    made = derived(upstream, SIZES, "x")
    assert [layer.digest for layer in made.layers] == [*RAW, RAW[0]]
    assert [blob.digest for blob in made.blobs] == list(RAW)


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
UNSUPPORTED = {
    "foreign": image(f"{OCI_LAYER}+gzip", FOREIGN),
    "encrypted": image(f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+gzip+encrypted"),
    "nondistributable": image(
        f"{OCI_LAYER}+gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
    "artifact": image(config="application/vnd.oci.empty.v1+json"),
    "helm chart": image(
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        config="application/vnd.cncf.helm.config.v1+json",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_has_no_raw_form_is_told(case: str) -> None:
    with pytest.raises(BundleError, match=r"^x: '\S+' has no place in a compact") as caught:
        raw_layers(UNSUPPORTED[case], "x")
    assert caught.value.hint == 'layers = "exact" in [bundle] takes it as it is'


def test_layers_and_diff_ids_must_be_as_many() -> None:
    with pytest.raises(IntegrityError, match="x: 1 layers, but 2 in the config"):
        raw_layers(image(f"{OCI_LAYER}+gzip"), "x")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({RAW[0]: 1}, f"the raw layer {RAW[1]} is not there"),
        ({**SIZES, RAW[1]: 100 * MAX_RATIO + 1}, "comes to more than 1032 times its size"),
    ],
)
def test_a_size_that_cannot_be_is_refused(sizes: dict[Digest, int], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        derived(image(f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+gzip"), sizes, "x")


def test_the_largest_size_that_can_be_is_taken() -> None:
    sizes = {**SIZES, RAW[1]: 100 * MAX_RATIO}
    derived(image(f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+gzip"), sizes, "x")


@pytest.mark.parametrize("count", [1, 2])
def test_what_has_an_index_gets_one(count: int) -> None:
    index = content(b"{}", OCI_INDEX)
    images = [
        (parse_platform(platform), derived(image(f"{OCI_LAYER}{how}", OCI_LAYER), SIZES, "x"))
        for platform, how in (("linux/amd64", "+gzip"), ("linux/arm/v7", "+zstd"))[:count]
    ]
    indexed = [(it, replace(made, upstream=(index, made.upstream[1]))) for it, made in images]
    assert parse_index(derived_index(indexed), "index").platforms == tuple(
        (platform, made.manifest.descriptor) for platform, made in images
    )


def test_what_has_none_gets_none() -> None:
    made = derived(image(f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+gzip"), SIZES, "x")
    assert derived_index([(parse_platform("linux/amd64"), made)]) == made.manifest


@pytest.mark.parametrize("annotation", ["", "sha256:", 3, "../../etc/passwd"])
def test_an_annotation_that_is_no_digest_is_refused(annotation: object) -> None:
    document = {"annotations": {"airgapbuild.derived-from": annotation}}
    with pytest.raises(ValueError, match="is not a digest"):
        derived_from(content(json.dumps(document).encode(), OCI_MANIFEST))
