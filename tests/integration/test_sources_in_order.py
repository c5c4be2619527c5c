"""Mirrors and registries, in the order that the manifest gives: all of them real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airgapbuild.errors import IntegrityError
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.content import parse_index
from airgapbuild.oci.digest import parse_digest
from airgapbuild.oci.reference import parse_reference
from tests.engines.registry import Registry
from tests.integration.reading import Notes, Open, refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.engines.layout import Image
    from tests.engines.parts.part import Shelf

BUILDER = parse_reference("moby/buildkit:v0.34.2")
BUSYBOX = parse_reference("busybox:1.37.0")


@pytest.fixture(scope="module")
def below(bed: Shelf) -> Iterator[Registry]:
    """A registry that has all of Docker Hub below a path, as an internal one does."""
    with Registry.start(bed, path="dockerhub") as running:
        yield running


@pytest.fixture
def nothing(bed: Shelf) -> Iterator[Registry]:
    with Registry.start(bed, empty=True) as running:
        yield running


def mirrored(*mirrors: str, upstream: bool = False) -> RegistrySettings:
    return RegistrySettings(mirrors=mirrors, upstream=upstream)


def test_a_pull_through_cache_is_a_mirror(
    bed: Shelf, registry: Registry, images: Mapping[str, Image], opened: Open
) -> None:
    with Registry.start(bed, proxy_of=registry) as cache:
        source = opened({"docker.io": mirrored(cache.address)})
        top = source.manifest(BUILDER)
        assert top.descriptor.digest == images["moby/buildkit:v0.34.2"].index
        for _, descriptor in parse_index(top, "index").platforms:
            source.manifest(BUILDER.with_digest(descriptor.digest))
        assert source.answered(BUILDER) == f"{cache.address}/moby/buildkit"
        names = [name.rpartition(":") for name in images]
        assert set(source.tags(BUILDER)) == {
            tag for repository, _, tag in names if repository == "moby/buildkit"
        }


@pytest.mark.parametrize(
    ("key", "path"), [("docker.io", "dockerhub"), ("docker.io/library", "dockerhub/library")]
)
def test_a_mirror_may_be_a_path(below: Registry, opened: Open, key: str, path: str) -> None:
    source = opened({key: mirrored(f"{below.address}/{path}")})
    source.manifest(BUSYBOX)
    assert source.answered(BUSYBOX) == f"{below.address}/dockerhub/library/busybox"


def test_the_longest_key_decides_which_mirrors_are_asked(
    below: Registry, registry: Registry, opened: Open
) -> None:
    source = opened(
        {
            "docker.io": mirrored(registry.address),
            "docker.io/library": mirrored(f"{below.address}/dockerhub/library"),
        }
    )
    source.manifest(BUSYBOX)
    source.manifest(BUILDER)
    assert source.answered(BUSYBOX) == f"{below.address}/dockerhub/library/busybox"
    assert source.answered(BUILDER) == f"{registry.address}/moby/buildkit"


def test_what_one_does_not_have_the_next_is_asked_for(
    nothing: Registry, htpasswd_registry: Registry, registry: Registry, opened: Open
) -> None:
    notes = Notes()
    mirrors = (nothing.address, htpasswd_registry.address)
    source = opened({registry.address: mirrored(*mirrors, upstream=True)}, progress=notes)
    reference = parse_reference(f"{registry.address}/moby/buildkit:v0.34.2")
    source.manifest(reference)
    assert source.answered(reference) == f"{registry.address}/moby/buildkit"
    assert [note.partition(" (")[0] for note in notes.details] == [
        f"registry {nothing.address}: not found: {nothing.address}/moby/buildkit:v0.34.2",
        f"registry {htpasswd_registry.address}: authentication required for "
        f"{htpasswd_registry.address}/moby/buildkit:v0.34.2",
        f"{registry.address}/moby/buildkit:v0.34.2: from {registry.address}",
    ]


def test_where_no_host_is_left_the_table_that_says_so_is_named(opened: Open) -> None:
    error = refused(opened({"docker.io/moby": mirrored()}), BUILDER)
    assert error.hint == 'name mirrors in [registries."docker.io/moby"], or drop upstream = false'


def test_nothing_has_answered_before_it_is_asked(opened: Open) -> None:
    assert opened().answered(BUILDER) is None


def test_wrong_bytes_of_a_mirror_are_an_error_and_nobody_else_is_asked(
    writable_registry: Registry, registry: Registry, images: Mapping[str, Image], opened: Open
) -> None:
    digest = parse_digest(images["moby/buildkit:v0.34.2"].platforms["linux/amd64"].manifest)
    [data] = writable_registry.storage.rglob(f"{digest.partition(':')[2]}/data")
    right = data.read_bytes()
    data.unlink()  # its bytes are shared with the bed
    data.write_bytes(right.replace(b'"size":', b'"size": ', 1))
    settings = {registry.address: mirrored(writable_registry.address, upstream=True)}
    reference = parse_reference(f"{registry.address}/moby/buildkit:v0.34.2").with_digest(digest)
    before = registry.log.read_text()
    with pytest.raises(
        IntegrityError, match=f"from {writable_registry.address}: expected {digest}"
    ):
        opened(settings).manifest(reference)
    assert registry.log.read_text() == before
