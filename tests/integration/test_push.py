"""Bundles in real registries: what is there afterwards, and what was sent for it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.errors import BundleError, IntegrityError, RegistryError
from airgapbuild.export import export
from airgapbuild.manifest import RegistrySettings, parse_manifest
from airgapbuild.oci.content import parse_index
from airgapbuild.oci.content import parse_manifest as parse_image
from airgapbuild.resolve import resolve
from tests.engines.registry import USER, Registry
from tests.integration.reading import ALICE, Notes, Open, login
from tests.integration.targets import (
    BASE,
    TEXT,
    changes,
    mirrored,
    publish,
    push,
    there,
)
from tests.support.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.parts.part import Shelf

COMPACT = Packaging(layers="compact", level=1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path, TEXT)
    publish(made)
    return made


@pytest.fixture(scope="module")
def old(bed: Shelf) -> Iterator[Registry]:
    """Distribution 2.8; each test has a path of its own in it."""
    with Registry.start(bed, writable=True, empty=True) as running:
        yield running


@pytest.fixture(scope="module")
def new(bed: Shelf) -> Iterator[Registry]:
    """Distribution 3, likewise."""
    with Registry.start(bed, writable=True, empty=True, newest=True) as running:
        yield running


@pytest.fixture(scope="module")
def api(bed: Shelf) -> Iterator[Registry]:
    """One with the Referrers API."""
    with Registry.with_referrers(bed) as running:
        yield running


@pytest.fixture(params=["old", "new", "api"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """Each of them in turn."""
    found: Registry = request.getfixturevalue(request.param)
    return found


def without(folder: Path, word: str) -> Path:
    """The bundle without the tarballs that have this word in their names."""
    for file in folder.glob(f"*{word}*.zst"):
        file.unlink()
    return folder


def test_what_is_there_locks_and_exports_to_the_same(
    project: Project, registry: Registry, opened: Open
) -> None:
    bundle = project.bundle("b")
    pushed = push(registry, "same", bundle)
    assert [(it.action, it.is_exact) for it in pushed.values()] == [("pushed", True)] * 2
    source = opened(mirrored(registry, "same"))
    lock = resolve(parse_manifest(TEXT.encode(), "m", folder=Path()), source)
    assert lock == bundle.lock
    assert {len(image.referrer) for image in lock.image} == {2}
    export(lock, source, project.folder / "again")
    for file in bundle.folder.iterdir():
        assert (project.folder / "again" / file.name).read_bytes() == file.read_bytes()


def test_every_name_leads_to_the_locked_digest(
    project: Project, new: Registry, opened: Open
) -> None:
    pushed = push(new, "names", project.bundle("b"))
    for path in ("library/kit:1", "library/kit:stable", "corp/kit:1"):
        name = there(new, f"names/{path}")
        assert name in pushed["kit"].names
        assert opened().manifest(name).descriptor.digest == pushed["kit"].image.digest


def test_a_second_push_sends_nothing(project: Project, registry: Registry) -> None:
    bundle = project.bundle("b")
    push(registry, "twice", bundle)
    registry.log.write_text("")
    again = push(registry, "twice", bundle)
    assert {(it.action, it.sent, it.mounted) for it in again.values()} == {("present", 0, 0)}
    assert changes(registry) == []


def test_what_another_repository_has_is_mounted(project: Project, old: Registry) -> None:
    pushed = push(old, "mount", project.bundle("b"))
    base = max(pushed["kit"].image.platform, key=lambda it: it.layers_size)
    assert pushed["kit"].mounted > len(BASE)  # corp/kit has all from library/kit
    assert pushed["python"].sent < base.layers_size
    assert any("mount=sha256" in it for it in changes(old, "mount"))


def test_only_names_are_put_where_only_names_lack(project: Project, old: Registry) -> None:
    push(old, "named", project.bundle("b"))
    project.text = TEXT.replace('"kit:stable"', '"kit:lts"')
    old.log.write_text("")
    pushed = push(old, "named", project.bundle("named"))
    assert (pushed["kit"].action, pushed["python"].action) == ("named", "present")
    assert changes(old) == ["PUT /v2/named/library/kit/manifests/lts"]


@pytest.mark.parametrize("part_size", [None, 1 << 20])
@pytest.mark.parametrize("registry", ["old", "api"], indirect=True)
def test_a_large_blob_goes_in_chunks(
    project: Project, registry: Registry, opened: Open, part_size: int | None
) -> None:
    prefix = "parts/of" if part_size else "whole/in"
    large = random.Random(prefix).randbytes(3_500_000)
    project.source.publish("kit:1", "linux/amd64", "linux/arm64", layers=(large, b"top"))
    bundle = project.bundle("b", packaging=Packaging(part_size=part_size))
    pushed = push(registry, prefix, bundle, chunk=1 << 20)
    image = opened().manifest(there(registry, f"{prefix}/library/kit@{pushed['kit'].digest}"))
    [[_, amd64], _] = parse_index(image, "it").platforms
    reference = there(registry, f"{prefix}/library/kit@{amd64.digest}")
    layer = parse_image(opened().manifest(reference), "it").layers[0]
    assert b"".join(opened().blob(reference, layer)) == project.source.blobs[layer.digest]
    sent = [it for it in changes(registry, f"{prefix}/corp") if it.startswith("PATCH")]
    assert len(sent) == 4


def test_some_platforms_get_an_index_of_their_own(
    project: Project, registry: Registry, opened: Open
) -> None:
    project.bundle("b")
    bundle = open_bundle(without(project.folder / "b", "arm64"))
    notes = Notes()
    pushed = push(registry, "some", bundle, progress=notes)["kit"]
    assert not pushed.is_exact
    index = opened().manifest(there(registry, "some/library/kit:stable"))
    assert index.descriptor.digest == pushed.digest
    [[platform, manifest]] = parse_index(index, "it").platforms
    assert (str(platform), manifest.digest) == ("linux/amd64", pushed.platforms[0].manifest)
    assert len(parse_index(index, "it").attestations) == 1
    assert (
        f"kit: is known there by {pushed.digest}, not by the locked {pushed.image.digest}: the "
        "registry takes no index that lists more than it has, and the bundle has linux/amd64 only"
    ) in notes.notes
    again = push(registry, "some", bundle)["kit"]
    assert (again.action, again.digest) == ("present", pushed.digest)


def test_some_platforms_keep_the_index_that_is_whole_already(
    project: Project, new: Registry
) -> None:
    push(new, "kept", project.bundle("b"))
    bundle = open_bundle(without(project.folder / "b", "arm64"))
    pushed = push(new, "kept", bundle)["kit"]
    assert (pushed.action, pushed.is_exact) == ("present", True)


def test_a_registry_that_takes_the_whole_index_gets_it(project: Project, bed: Shelf) -> None:
    project.bundle("b")
    bundle = open_bundle(without(project.folder / "b", "arm64"))
    with Registry.start(bed, writable=True, empty=True, newest=True, lenient=True) as registry:
        notes = Notes()
        pushed = push(registry, "some", bundle, progress=notes)["kit"]
        assert (pushed.is_exact, len(pushed.platforms), notes.notes) == (True, 1, [])


def test_attestations_left_at_home_make_another_index(project: Project, old: Registry) -> None:
    project.text = f"{TEXT}\n[bundle]\nattestations = false\n"
    notes = Notes()
    pushed = push(old, "bare", project.bundle("b"), progress=notes)["kit"]
    assert not pushed.is_exact
    assert len(pushed.platforms) == 2
    assert notes.notes[0].endswith("has linux/amd64, linux/arm64 only, without attestations")


def test_a_compact_image_is_derived_and_says_so(
    project: Project, new: Registry, opened: Open
) -> None:
    bundle = project.bundle("b", packaging=COMPACT)
    notes = Notes()
    pushed = push(new, "compact", bundle, progress=notes)["kit"]
    reference = there(new, "compact/corp/kit:1")
    index = opened().manifest(reference)
    assert (index.descriptor.digest, pushed.is_exact) == (pushed.digest, False)
    for (_, manifest), locked in zip(
        parse_index(index, "it").platforms, pushed.platforms, strict=True
    ):
        document = opened().manifest(reference.with_digest(manifest.digest))
        image = parse_image(document, "it")
        assert image.config.digest == locked.config
        for layer in image.layers:
            for _ in opened().blob(reference, layer):
                pass
    assert f"not by the locked {pushed.image.digest}: the bundle is compact" in notes.notes[0]
    assert push(new, "compact", bundle)["kit"].action == "present"


def test_a_differential_needs_its_base_or_a_registry_that_has_it(
    project: Project, old: Registry
) -> None:
    base = project.bundle("old")
    publish(project, top=b"newer")
    bundle = project.bundle("new", base.folder)
    with pytest.raises(BundleError) as caught:
        push(old, "bare-differential", bundle)
    assert f"neither the bundle nor {old.address} has sha256:" in caught.value.lines[0]
    assert f"airgapbuild push BASE {bundle.folder} {old.address}" in (caught.value.hint or "")
    assert changes(old, "bare-differential") == []
    assert push(old, "with-base", bundle, base)["kit"].is_exact
    push(old, "had-it", base)
    pushed = push(old, "had-it", bundle)
    assert all(it.is_exact and it.sent < len(BASE) for it in pushed.values())


def test_what_one_tarball_leaves_out_another_may_have(project: Project, old: Registry) -> None:
    project.export("old")
    project.source.publish("kit:1", "linux/amd64", "linux/arm64", layers=(b"low", BASE, b"new"))
    bundle = project.bundle("new", project.folder / "old")
    [python] = [it for it in bundle.lock.image if it.name == "python"]
    [layer] = [
        it.digest for it in bundle.requires(python, python.platform[0]) if it.size > len(BASE)
    ]
    assert bundle.holds(layer)
    with pytest.raises(BundleError) as caught:
        push(old, "another", bundle)
    assert layer not in caught.value.message


def test_what_is_told_by_older_layers_needs_their_bundle(project: Project, old: Registry) -> None:
    big = random.Random(3).randbytes(150_000)
    for name, layer in (("raw", big), ("told", big[:70_000] + b"patched" + big[70_007:])):
        project.source.publish("kit:1", "linux/amd64", "linux/arm64", layers=(layer, b"top"))
        against = [project.folder / "raw"] if name == "told" else []
        project.export(name, *against, packaging=COMPACT)
    raw, told = open_bundle(project.folder / "raw"), open_bundle(project.folder / "told")
    with pytest.raises(BundleError, match="kit linux/amd64: neither the bundle nor"):
        push(old, "told", told)
    assert changes(old, "told") == []
    assert push(old, "told", told, raw)["kit"].action == "pushed"


def test_of_a_bundle_that_is_not_right_nothing_is_sent(project: Project, old: Registry) -> None:
    bundle = project.bundle("b")
    tarball = bundle.folder / "python_1_linux-arm64.oci.tar.zst"
    raw = bytearray(tarball.read_bytes())
    raw[len(raw) // 2] ^= 1
    tarball.write_bytes(raw)
    with pytest.raises(IntegrityError, match=tarball.name):
        push(old, "wrong", bundle)
    assert changes(old, "wrong") == []


def test_an_image_known_by_digest_only(project: Project, old: Registry, opened: Open) -> None:
    digest = project.source.publish("python:1", "linux/amd64", "linux/arm64").descriptor.digest
    project.text = TEXT.replace('"python:1"', f'"python@{digest}"')
    pushed = push(old, "digest", project.bundle("b"))["python"]
    [name] = pushed.names
    assert name == there(old, f"digest/library/python@{digest}")
    assert opened().manifest(name).descriptor.digest == digest
    assert push(old, "digest", project.bundle("b"))["python"].action == "present"


def test_what_others_attached_stays_listed(project: Project, old: Registry, opened: Open) -> None:
    push(old, "listed", project.bundle("b"))
    digest = project.source.manifests["docker.io/library/kit:1"].descriptor.digest
    project.source.attach("kit:1", digest, b"another")
    project.source.attached[digest] = project.source.attached[digest][1:]
    pushed = push(old, "listed", project.bundle("more"))["kit"]
    assert pushed.action == "pushed"
    listed = opened().referrers(there(old, "listed/library/kit:1"), digest)
    assert len(listed) == 2


# Logins, TLS, and registries that do not want it


def test_a_token_is_fetched_for_pushing_and_for_mounts(
    project: Project, bed: Shelf, opened: Open
) -> None:
    with Registry.start(bed, auth="token", writable=True, empty=True, newest=True) as registry:
        bundle = project.bundle("b")
        with pytest.raises(RegistryError, match="authentication required for blob") as caught:
            push(registry, "app", bundle)
        assert caught.value.status == 401
        pushed = push(registry, "app", bundle, credentials=login(ALICE, registry))
        assert pushed["kit"].mounted > len(BASE)
        digest = opened().manifest(there(registry, "app/corp/kit:1")).descriptor.digest
        assert digest == pushed["kit"].digest


def test_a_login_and_a_private_ca(project: Project, bed: Shelf) -> None:
    with Registry.start(bed, auth="htpasswd", tls=True, writable=True, empty=True) as registry:
        bundle, its = project.bundle("b"), RegistrySettings(ca=registry.ca)
        with pytest.raises(RegistryError, match="authentication required"):
            push(registry, "app", bundle, settings=its)
        assert (ALICE.username, ALICE.password) == USER
        pushed = push(registry, "app", bundle, settings=its, credentials=login(ALICE, registry))
        assert pushed["python"].is_exact


def test_a_registry_that_is_read_only_says_so(project: Project, bed: Shelf) -> None:
    with Registry.start(bed) as registry:
        with pytest.raises(RegistryError) as caught:
            push(registry, "app", project.bundle("b"))
        assert caught.value.message.endswith("is not taken")
        assert caught.value.hint == (
            f"is {registry.address} read-only, or a mirror that takes no pushes?"
        )
