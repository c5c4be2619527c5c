from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.index import parse_bundle_index, render_index
from airgapbuild.errors import AirgapbuildError, BundleError, IntegrityError, UsageError
from airgapbuild.inspection import Inspected, inspect
from tests.support.forgery import make_two, vouch
from tests.support.program import airgapbuild, document

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "kit:1"
role = "builder"
tags = ["kit:stable"]
[images.tool]
ref = "tool:1"
role = "tool"
platforms = ["linux/amd64"]
[builder]
name = "airgap"
image = "kit"
sealed = true
[buildkitd.worker.oci]
max-parallelism = 4
"""
TARBALL = "tool_1_linux-amd64.oci.tar.zst"
SETTINGS = {
    "builder.name": "airgap",
    "builder.image": "kit",
    "builder.sealed": "true",
    "buildkitd.worker.oci.max-parallelism": "4",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_two(tmp_path_factory.mktemp("made") / "b", TEXT)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def shape(found: Inspected) -> list[tuple[str, str, int]]:
    """Images, platforms, and how many layers each has."""
    return [
        (image.name, platform.platform, len(platform.layers or ()))
        for image in found.images
        for platform in image.platforms
    ]


def test_a_bundle_tells_images_layers_and_settings(made: Path) -> None:
    found = inspect(made)
    assert found.kind == "bundle"
    assert shape(found) == [
        ("kit", "linux/amd64", 2),
        ("kit", "linux/arm64", 2),
        ("tool", "linux/amd64", 2),
    ]
    kit, tool = found.images
    assert kit.names == (
        "docker.io/library/kit:1",
        "docker.io/library/kit:stable",
        "127.0.0.1:1/airgapbuild/library/kit:1",
    )
    assert (kit.role, kit.places, kit.ref) == ("builder", ("daemon",), "kit:1")
    assert tool.platforms[0].tarball == TARBALL
    assert found.settings == SETTINGS
    assert [len(platform.evidence) for platform in kit.platforms] == [1, 1]


def test_layers_that_several_platforms_have_are_marked(made: Path) -> None:
    found = inspect(made)
    [platform] = found.images[1].platforms
    assert platform.layers is not None
    assert [found.owners[layer.digest] for layer in platform.layers] == [
        ("kit linux/amd64", "kit linux/arm64", "tool linux/amd64"),
        ("tool linux/amd64",),
    ]


def test_a_bundle_that_is_not_whole_is_still_told(folder: Path) -> None:
    (folder / TARBALL).unlink()
    (folder / "notes.txt").write_text("")
    found = inspect(folder)
    assert shape(found)[-1] == ("tool", "linux/amd64", 0)
    [platform] = found.images[1].platforms
    assert (platform.here, platform.layers) == (False, None)
    assert platform.size > 200_000


def test_what_a_tarball_lacks_is_what_the_receiver_must_hold(folder: Path) -> None:
    index = parse_bundle_index((folder / "bundle.json").read_bytes(), "index")
    files = [
        file.model_copy(update={"blobs": file.blobs[:-1]}) if file.name == TARBALL else file
        for file in index.files
    ]
    raw = render_index(index.model_copy(update={"files": tuple(files)}))
    (folder / "bundle.json").write_bytes(raw)
    vouch(folder, "bundle.json")
    [platform] = inspect(folder).images[1].platforms
    assert platform.layers is not None
    assert platform.lacking == (platform.layers[0],)
    assert "the receiver must hold sha256:" in airgapbuild("inspect", folder).stdout


def test_a_lock_tells_what_is_known_before_the_export(made: Path) -> None:
    found = inspect(made / "airgapbuild.lock")
    whole = inspect(made)
    assert found.kind == "lock"
    assert [image.digest for image in found.images] == [image.digest for image in whole.images]
    assert all(p.layers is None and p.tarball is None for i in found.images for p in i.platforms)
    assert found.settings == SETTINGS


def test_a_tarball_alone_tells_its_image(made: Path) -> None:
    found = inspect(made / TARBALL)
    [image] = found.images
    [platform] = image.platforms
    [locked] = inspect(made).images[1].platforms
    assert image.names == ("docker.io/library/tool:1",)
    assert (platform.manifest, platform.config, platform.size, platform.layers) == (
        locked.manifest,
        locked.config,
        locked.size,
        locked.layers,
    )
    assert platform.evidence == locked.evidence
    assert found.settings == {}


def test_a_tarballs_layers_are_not_read(folder: Path) -> None:
    path = folder / TARBALL
    path.write_bytes(path.read_bytes()[:-150_000])
    assert shape(inspect(path)) == [("-", "linux/amd64", 2)]


def test_a_tarballs_documents_are_read_by_digest(folder: Path) -> None:
    path = folder / TARBALL
    raw = path.read_bytes()
    assert raw.count(b'"rootfs"') == 1
    path.write_bytes(raw.replace(b'"rootfs"', b'"rOotfs"'))
    with pytest.raises(IntegrityError, match="expected sha256:"):
        inspect(path)


def tarball(path: Path, *members: tuple[str, bytes]) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(zstandard.ZstdCompressor().compress(buffer.getvalue()))
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "has no index.json before its blobs"),
        ([("index.json", b"[]")], "index.json is none of an image"),
        ([("index.json", b'{"manifests": [1]}')], "index.json is none of an image"),
        ([("index.json", b'{"manifests": 1}')], "index.json is none of an image"),
        ([("index.json", b"{}")], "index.json names no image, or more than one"),
        ([("etc/passwd", b"")], "has no place in an image archive"),
        ([("oci-layout", bytes(5 << 20))], "has no index.json before its blobs"),
        (
            [
                (
                    "index.json",
                    b'{"manifests": [{"mediaType": "m", "size": 1, "digest": "sha256:'
                    + b"0" * 64
                    + b'"}]}',
                )
            ],
            "does not come before the layers",
        ),
    ],
)
def test_another_tarball_is_none_of_ours(
    tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        inspect(tarball(tmp_path / "t.zst", *members))


def test_what_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        inspect(tmp_path / "nothing")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 1 << 14), other=st.binary(min_size=1, max_size=20))
def test_a_mangled_tarball_is_told_or_an_error(made: Path, at: int, other: bytes) -> None:
    raw = (made / TARBALL).read_bytes()
    path = made.parent / "mangled"
    path.write_bytes(raw[:at] + other + raw[at + len(other) :])
    try:
        assert inspect(path).images
    except AirgapbuildError as error:
        assert error.lines  # noqa: PT017


@pytest.mark.parametrize("name", ["b", f"b/{TARBALL}", "b/airgapbuild.lock"])
def test_the_command_tells_it_in_words_and_json(made: Path, name: str) -> None:
    words = airgapbuild("inspect", name, cwd=made.parent)
    assert words.returncode == 0
    for part in ("linux/amd64", "docker.io/library/tool:1"):
        assert part in words.stdout
    assert ("not verified" in words.stdout) == (not name.endswith(".lock"))
    told = document(airgapbuild("inspect", "--json", name, cwd=made.parent))
    assert told["verified"] is False
    assert told["images"][-1]["names"] == ["docker.io/library/tool:1"]
    assert told["images"][-1]["into"] == ([] if name.endswith(TARBALL) else ["daemon"])
