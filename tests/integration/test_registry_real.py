from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from airgapbuild.credentials import Credential
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.content import parse_config, parse_index, parse_manifest
from airgapbuild.oci.digest import digest_of, parse_digest
from airgapbuild.oci.reference import Reference, parse_reference
from airgapbuild.oci.source import read_blob
from airgapbuild.registry import RegistrySource
from tests.engines import pki
from tests.engines.registry import USER
from tests.integration.reading import Notes, Open, login, refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.engines.layout import Image
    from tests.engines.registry import Registry

BUILDER = "moby/buildkit:v0.34.2"
ALICE = Credential(*USER)


def builder(registry: Registry) -> Reference:
    return parse_reference(f"{registry.address}/{BUILDER}")


def read_all(source: RegistrySource, reference: Reference, image: Image) -> None:
    """Reads an image down to its layers, as export does."""
    top = source.manifest(reference)
    assert top.descriptor.digest == image.index
    index = parse_index(top, "index")
    assert {str(platform) for platform, _ in index.platforms} == set(image.platforms)
    for platform, descriptor in index.platforms:
        document = source.manifest(reference.with_digest(descriptor.digest))
        assert document.descriptor == descriptor
        manifest = parse_manifest(document, "manifest")
        config = read_blob(source, reference, manifest.config)
        assert digest_of(config) == image.platforms[str(platform)].config
        assert parse_config(config, "config").platform == platform
        with ThreadPoolExecutor(4) as threads:
            sizes = threads.map(
                lambda layer: sum(map(len, source.blob(reference, layer))), manifest.layers
            )
        assert list(sizes) == [layer.size for layer in manifest.layers]


@pytest.fixture
def image(images: Mapping[str, Image]) -> Image:
    return images[BUILDER]


def test_an_image_is_read_from_a_registry(registry: Registry, image: Image, opened: Open) -> None:
    read_all(opened(), builder(registry), image)


def test_an_image_is_read_with_a_token(
    token_registry: Registry, image: Image, opened: Open
) -> None:
    read_all(opened(), builder(token_registry), image)
    read_all(opened(credentials=login(ALICE, token_registry)), builder(token_registry), image)


def test_an_image_is_read_with_a_password(
    htpasswd_registry: Registry, image: Image, opened: Open
) -> None:
    credentials = login(ALICE, htpasswd_registry)
    read_all(opened(credentials=credentials), builder(htpasswd_registry), image)


def test_an_image_is_read_over_tls(tls_registry: Registry, image: Image, opened: Open) -> None:
    settings = {tls_registry.address: RegistrySettings(ca=tls_registry.ca)}
    read_all(opened(settings), builder(tls_registry), image)
    settings = {tls_registry.address: RegistrySettings(insecure=True)}
    read_all(opened(settings), builder(tls_registry), image)


def test_a_layer_is_read_in_parts(token_registry: Registry, image: Image, opened: Open) -> None:
    source, reference = opened(), builder(token_registry)
    platform = image.platforms["linux/amd64"]
    document = source.manifest(reference.with_digest(parse_digest(platform.manifest)))
    layer = min(parse_manifest(document, "manifest").layers, key=lambda layer: layer.size)
    places = [0, 1, layer.size // 3, layer.size - 1, layer.size]
    parts = [source.part(reference, layer, *span) for span in pairwise(places)]
    assert digest_of(b"".join(chunk for part in parts for chunk in part)) == layer.digest


def test_docker_hub_is_read_through_a_mirror(
    registry: Registry, image: Image, opened: Open
) -> None:
    settings = {"docker.io": RegistrySettings(mirrors=(registry.address,), upstream=False)}
    notes = Notes()
    read_all(opened(settings, progress=notes), parse_reference(BUILDER), image)
    assert notes.details[0] == f"{registry.address}/{BUILDER}: from {registry.address}"


def test_no_password_is_said(htpasswd_registry: Registry, opened: Open) -> None:
    error = refused(opened(), builder(htpasswd_registry))
    address = htpasswd_registry.address
    assert error.message == f"registry {address}: authentication required for {address}/{BUILDER}"
    assert error.hint is not None
    assert error.hint.startswith(f"docker login {address}")


def test_a_wrong_password_is_said(
    htpasswd_registry: Registry, token_registry: Registry, opened: Open
) -> None:
    wrong = Credential("alice", "wrong horse")
    for registry in (htpasswd_registry, token_registry):
        error = refused(opened(credentials=login(wrong, registry)), builder(registry))
        assert error.status == 401
        assert "the login of 'alice' was refused" in error.message
        assert "wrong horse" not in error.message


def test_an_unknown_ca_is_said(tls_registry: Registry, opened: Open, tmp_path: Path) -> None:
    settings = {tls_registry.address: RegistrySettings(ca=pki.authority(tmp_path).cert)}
    error = refused(opened(settings), builder(tls_registry))
    assert error.message.startswith(
        f"registry {tls_registry.address}: its certificate is not trusted: "
    )
    assert error.hint == (
        f'if its CA is a private one: ca = "ca.pem" in [registries."{tls_registry.address}"]'
    )


def test_a_tag_that_is_not_there_is_said(registry: Registry, opened: Open) -> None:
    error = refused(opened(), parse_reference(f"{registry.address}/moby/buildkit:v0"))
    assert error.status == 404
    assert error.message == (
        f"registry {registry.address}: not found: {registry.address}/moby/buildkit:v0 "
        "(manifest unknown)"
    )
