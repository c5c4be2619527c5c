from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.errors import LockError
from airgapbuild.lockfile import (
    Lock,
    parse_lock,
    read_lock,
    render_lock,
    require_fresh,
    stale_reasons,
    write_lock,
)
from airgapbuild.manifest import Manifest, parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

GOLDEN = Path(__file__).parent / "golden" / "airgapbuild.lock"
TEXT = """
version = 1
name = "builders"
platforms = ["linux/amd64", "linux/arm64"]

[images.buildkit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
tags = ["moby/buildkit:buildx-stable-1"]

[images.busybox]
ref = "busybox:1.37"
role = "base"
platforms = ["linux/amd64"]

[builder]
name = "airgap"
image = "buildkit"
sealed = true
driver-opts = { network = "host" }

[buildkitd.worker.oci]
max-parallelism = 4
"""


def manifest(text: str = TEXT) -> Manifest:
    return parse_manifest(text.encode(), "airgapbuild.toml", folder=Path())


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    top = source.publish("moby/buildkit:v0.34.2", "linux/amd64", "linux/arm64").descriptor
    source.attach("moby/buildkit:v0.34.2", top.digest)
    source.attach("moby/buildkit:v0.34.2", top.digest, tag=f"{top.digest.replace(':', '-')}.sig")
    source.publish("busybox:1.37", "linux/amd64", "linux/arm64", "linux/arm/v7")
    return source


@pytest.fixture
def lock(source: MemorySource) -> Lock:
    return resolve(manifest(), source)


def test_the_lock_reads_as_the_golden_file(lock: Lock) -> None:
    assert render_lock(lock).decode() == GOLDEN.read_text()


def test_a_lock_is_read_as_it_was_written(lock: Lock, tmp_path: Path) -> None:
    path = tmp_path / "airgapbuild.lock"
    assert write_lock(path, lock)
    assert read_lock(path) == lock
    assert not write_lock(path, lock)


def test_names_that_begin_alike_are_read_as_they_were_written(source: MemorySource) -> None:
    text = TEXT.replace('["moby', '["moby/kit:1", "moby/kit-rootless:1", "moby')
    lock = resolve(manifest(text), source)
    assert parse_lock(render_lock(lock), "airgapbuild.lock") == lock


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\rb"])
def test_lines_are_read_as_they_were_written(source: MemorySource, text: str) -> None:
    options = f'{{ network = "host", "env.A" = {json.dumps(text)} }}'
    lock = resolve(manifest(TEXT.replace('{ network = "host" }', options)), source)
    assert lock.builder
    assert lock.builder.driver_opts["env.A"] == text
    assert parse_lock(render_lock(lock), "airgapbuild.lock") == lock


def test_the_builder_image_has_its_local_name_last(lock: Lock) -> None:
    image = lock.builder_image
    assert image is not None
    assert [name.familiar for name in image.names] == [
        "moby/buildkit:v0.34.2",
        "moby/buildkit:buildx-stable-1",
        "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2",
    ]


LOCAL = """
version = 1
name = "local"
platforms = ["linux/amd64"]
[images.kit]
ref = "{ref}"
role = "builder"
tags = ["corp.example/kit:2", "corp.example/kit:3"]
"""


@pytest.mark.parametrize(
    ("ref", "names", "version"),
    [
        (
            "oci-layout:out/kit:v1",
            [
                "corp.example/kit:2",
                "corp.example/kit:3",
                "127.0.0.1:1/airgapbuild/kit:v1",
            ],
            "v1",
        ),
        (
            "docker-daemon:own/kit:v1",
            [
                "own/kit:v1",
                "corp.example/kit:2",
                "corp.example/kit:3",
                "127.0.0.1:1/airgapbuild/own/kit:v1",
            ],
            "v1",
        ),
    ],
)
def test_an_image_of_no_registry_has_the_names_that_it_was_given(
    source: MemorySource, ref: str, names: list[str], version: str
) -> None:
    wanted = manifest(LOCAL.format(ref=ref))
    [entry] = wanted.images.values()
    source.manifests[str(entry.ref)] = source.publish("kit:1", "linux/amd64")
    for key, document in list(source.manifests.items()):
        source.manifests[f"{entry.ref.name}@{key.partition('@')[2]}"] = document
    lock = resolve(wanted, source)
    image = parse_lock(render_lock(lock), "airgapbuild.lock").image[0]
    assert image == lock.image[0]
    assert str(image.ref) == str(entry.ref)
    assert [name.familiar for name in image.names] == names
    assert image.version_tag == version
    assert stale_reasons(wanted, lock) == ()


def test_a_lock_states_the_role_that_the_name_tells(source: MemorySource, lock: Lock) -> None:
    text = "\n".join(line for line in TEXT.splitlines() if not line.startswith("role"))
    assert resolve(manifest(text), source) == lock
    assert stale_reasons(manifest(text), lock) == ()


@pytest.mark.parametrize(
    ("role", "places"),
    [
        ('role = "base"', ("layout",)),
        ('role = "base"\ndaemon = true', ("daemon", "layout")),
        ('role = "frontend"\ndaemon = true', ("daemon", "layout")),
        ('role = "tool"', ("daemon",)),
        ('role = "binfmt"', ("daemon",)),
    ],
)
def test_an_image_goes_where_it_is_wanted(
    source: MemorySource, role: str, places: tuple[str, ...]
) -> None:
    lock = resolve(manifest(TEXT.replace('role = "base"', role)), source)
    image = parse_lock(render_lock(lock), "airgapbuild.lock").find("busybox")
    assert image is not None
    assert image.places == places
    assert image == lock.find("busybox")


def test_comments_order_and_spelling_do_not_make_a_lock_stale(lock: Lock) -> None:
    other = (
        TEXT.replace('"linux/amd64", "linux/arm64"', '"linux/aarch64", "linux/x86_64"')
        .replace('ref = "busybox:1.37"', '# why\nref = "docker.io/library/busybox:1.37"')
        .replace("moby/buildkit:buildx", "docker.io/moby/buildkit:buildx")
    )
    assert stale_reasons(manifest(other), lock) == ()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            'ref = "moby/buildkit:v0.34.2"',
            'ref = "moby/buildkit:v0.35.0"',
            "images.buildkit: ref: 'moby/buildkit:v0.34.2' is locked, "
            "'moby/buildkit:v0.35.0' is wanted",
        ),
        (
            'platforms = ["linux/amd64"]',
            'platforms = ["linux/arm64"]',
            "images.busybox: platforms: 'linux/amd64' is locked, 'linux/arm64' is wanted",
        ),
        (
            'role = "base"',
            'role = "tool"',
            "images.busybox: role: 'base' is locked, 'tool' is wanted",
        ),
        (
            'tags = ["moby/buildkit:buildx-stable-1"]',
            "tags = []",
            "images.buildkit: tags: 'moby/buildkit:buildx-stable-1' is locked, '' is wanted",
        ),
        (
            "[images.buildkit]",
            "[bundle]\nattestations = false\n[images.buildkit]",
            "images.buildkit: attestations: 'true' is locked, 'false' is wanted",
        ),
        (
            'role = "base"',
            "daemon = true",
            "images.busybox: daemon: 'false' is locked, 'true' is wanted",
        ),
        ("[images.busybox]", "[images.box]", "images.box: is not locked"),
        ("sealed = true", "sealed = false", "builder: has changed"),
        ("max-parallelism = 4", "max-parallelism = 5", "buildkitd: has changed"),
        ('name = "builders"', 'name = "b"', "name: 'builders' is locked, 'b' is wanted"),
    ],
)
def test_a_stale_lock_says_which_image_and_why(old: str, new: str, reason: str, lock: Lock) -> None:
    assert old in TEXT
    wanted = manifest(TEXT.replace(old, new, 1))
    assert stale_reasons(wanted, lock)[0] == reason
    with pytest.raises(LockError) as caught:
        require_fresh(wanted, lock, Path("airgapbuild.lock"))
    assert caught.value.lines[0] == f"airgapbuild.lock: stale: {reason}"
    assert caught.value.hint == "`airgapbuild lock` brings it up to date"
    with pytest.raises(LockError) as caught:
        require_fresh(wanted, lock, Path("ci/builders.lock"))
    assert caught.value.hint == "`airgapbuild lock`, with the same --file, brings it up to date"


def test_how_a_bundle_is_packed_makes_no_lock_stale(lock: Lock) -> None:
    packed = '[bundle]\nlayers = "compact"\nlevel = 3\n[images.buildkit]'
    assert stale_reasons(manifest(TEXT.replace("[images.buildkit]", packed)), lock) == ()


def test_an_image_that_left_the_manifest_makes_the_lock_stale(lock: Lock) -> None:
    wanted = manifest(TEXT.replace("[images.busybox]", "[images.box]"))
    assert "images.busybox: is locked, but no longer in the manifest" in stale_reasons(wanted, lock)


def test_an_edited_digest_is_seen(lock: Lock) -> None:
    raw = render_lock(lock).decode()
    digest = lock.image[0].platform[0].config
    edited = raw.replace(digest, "sha256:" + "0" * 64)
    with pytest.raises(LockError, match=r"^airgapbuild\.lock:\d+: image\.0: buildkit was edited"):
        parse_lock(edited.encode(), "airgapbuild.lock")


def test_two_images_of_one_local_name_are_refused(source: MemorySource, lock: Lock) -> None:
    """As an older program locked them: the one would be run in the other's place."""
    source.publish("corp.example/moby/buildkit:v0.34.2", "linux/amd64", "linux/arm64")
    other = manifest(TEXT.replace('"moby/buildkit:v', '"corp.example/moby/buildkit:v'))
    image = resolve(other, source).image[0].model_copy(update={"name": "other", "tags": ()})
    both = lock.model_copy(update={"image": (*lock.image, image.seal())})
    with pytest.raises(LockError) as caught:
        parse_lock(render_lock(both), "airgapbuild.lock")
    assert [line.partition(": ")[2] for line in caught.value.lines] == [
        "image.2: other would take the name 127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2 from "
        "buildkit"
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "version = 2", "airgapbuild.lock:3: version: 2 is newer than this"),
        ("sha256:", "sha255:", "is not a digest"),
        ('role = "builder"', 'role = "chef"', "image.0.role: must be"),
        ("version = 1", "version = ", "not TOML"),
        ("version = 1", "version = 1\nextra = 2", "airgapbuild.lock:4: extra: unknown key"),
    ],
)
def test_what_is_no_lock_says_where(old: str, new: str, message: str, lock: Lock) -> None:
    raw = render_lock(lock).decode().replace(old, new, 1)
    with pytest.raises(LockError) as caught:
        parse_lock(raw.encode(), "airgapbuild.lock")
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", [TEXT, "root:x:0:0:root:/root:/bin/sh\n", '{"inventory": 1}'])
def test_another_file_is_told_to_be_no_lock_unless_it_is_the_manifest_s_own(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(LockError) as caught:
        read_lock(path)
    assert caught.value.lines == (f"{path}: is no airgapbuild.lock",)
    assert caught.value.hint == "give a bundle's folder or its airgapbuild.lock"
    with pytest.raises(LockError) as caught:
        read_lock(path, own=True)
    assert "delete it and run `airgapbuild lock`" in (caught.value.hint or "")


def test_a_lock_with_a_byte_order_mark_is_a_lock(lock: Lock) -> None:
    with pytest.raises(LockError, match=r"^a\.lock:1: begins with a byte-order mark") as caught:
        parse_lock(b"\xef\xbb\xbf" + render_lock(lock), "a.lock")
    assert "restore it" in (caught.value.hint or "")


def test_a_folder_in_its_place_says_where_the_lock_is(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="Is a directory") as caught:
        read_lock(tmp_path)
    assert caught.value.hint == f"give {tmp_path}/airgapbuild.lock"


def test_a_missing_lock_says_what_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LockError, match="there is no such file") as caught:
        read_lock(Path("airgapbuild.lock"))
    assert caught.value.hint == "`airgapbuild lock` writes it from airgapbuild.toml"
    with pytest.raises(LockError, match="there is no such file") as caught:
        read_lock(Path("ci/builders.lock"))
    assert caught.value.hint == "`airgapbuild lock --file MANIFEST` writes ci/builders.lock"


@given(
    st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_are_a_lock_error(raw: bytes) -> None:
    with pytest.raises(LockError):
        parse_lock(raw, "airgapbuild.lock")
