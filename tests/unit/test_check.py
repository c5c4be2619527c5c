"""What a build needs, against what a layout holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airgapbuild.builder.contexts import contexts_of
from airgapbuild.check import check
from airgapbuild.dockerfile.images import Build
from airgapbuild.dockerfile.parser import Dockerfile
from airgapbuild.manifest import parse_manifest
from airgapbuild.oci.content import parse_index
from airgapbuild.oci.content import parse_manifest as content_of
from airgapbuild.oci.digest import Digest
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.platform import parse_platform
from airgapbuild.oci.reference import parse_reference
from tests.support.program import airgapbuild, document
from tests.support.shelf import shelve

BOTH = ("linux/amd64", "linux/arm64")
HEAD = 'version = 1\nname = "b"\nplatforms = ["linux/amd64"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A layout with a base, of which one platform is not there, and a frontend."""
    layout = tmp_path / "l"
    shelve(layout, "python:3.13", *BOTH, absent=("linux/arm64",))
    shelve(layout, "docker/dockerfile:1", *BOTH)
    return tmp_path


def write(folder: Path, text: str, name: str = "Dockerfile") -> None:
    (folder / name).write_text(text)


def test_all_is_there(folder: Path) -> None:
    write(folder, "# syntax=docker/dockerfile:1\nFROM python:3.13")
    done = airgapbuild("check", "--layout", "l", "--platform", "linux/amd64", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "all 2 images are there"
    write(folder, "FROM python:3.13")
    done = airgapbuild("check", "--layout", "l", "--platform", "linux/amd64", cwd=folder)
    assert done.stdout.splitlines()[-1] == "the image is there"


def test_whatever_contexts_name_is_found(folder: Path) -> None:
    layout, own = Layout(folder / "l"), parse_platform("linux/amd64")
    names = contexts_of(layout)
    assert len(names) == 6
    for name in names:
        file = Dockerfile("Dockerfile", f"FROM {name}")
        checked = check([file], [Build(own, own)], layout, sbom=False)
        assert [(image.name, image.missing) for image in checked.images] == [(name, ())]
        assert checked.error is None


def test_what_is_missing_is_told_with_the_lines_that_add_it(folder: Path) -> None:
    text = """
        # syntax=docker/dockerfile:1
        FROM --platform=linux/amd64 python:3.13 AS one
        FROM alpine
        COPY --from=one / /
        COPY --from=alpine:3.20 / /
        COPY --from=alpine:3.21 / /
        COPY --from=corp.example/alpine:3.20 / /
        """
    write(folder, text)
    done = airgapbuild("check", "--json", "--layout", "l", "--platform", "linux/amd64", cwd=folder)
    assert done.returncode == 7
    told = document(done)
    assert told["error"]["problems"] == [
        "Dockerfile:4: alpine is not in the layout",
        "Dockerfile:6: alpine:3.20 is not in the layout",
        "Dockerfile:7: alpine:3.21 is not in the layout",
        "Dockerfile:8: corp.example/alpine:3.20 is not in the layout",
    ]
    manifest = parse_manifest((HEAD + told["manifest"]).encode(), "m", folder=folder)
    assert {name: str(entry.ref) for name, entry in manifest.images.items()} == {
        "alpine": "docker.io/library/alpine:latest",
        "alpine-2": "docker.io/library/alpine:3.20",
        "alpine-3": "docker.io/library/alpine:3.21",
        "alpine-4": "corp.example/alpine:3.20",
    }
    assert {entry.role for entry in manifest.images.values()} == {"base"}
    shown = airgapbuild("check", "--layout", "l", "--platform", "linux/amd64", cwd=folder).stdout
    assert shown.endswith("\n\n" + told["manifest"])


def test_a_platform_that_is_missing_is_told(folder: Path) -> None:
    write(folder, "FROM python:3.13")
    done = airgapbuild("check", "--layout", "l", "--platform", ",".join(BOTH), cwd=folder)
    assert done.returncode == 7
    assert done.stderr.splitlines()[0] == (
        "error: Dockerfile:1: python:3.13 is in the layout, but not for linux/arm64"
    )
    assert 'platforms = ["linux/amd64", "linux/arm64"]' in done.stdout


def platform_parts(layout: Layout, name: str, platform: str) -> dict[str, Digest]:
    """The digests of an image's manifest, config and layer for a platform."""
    index = layout.document(layout.images()[parse_reference(name)])
    assert index
    entries = {str(it): found.digest for it, found in parse_index(index, name).platforms}
    manifest = layout.document(entries[platform])
    assert manifest
    parsed = content_of(manifest, name)
    return {
        "index": index.descriptor.digest,
        "manifest": entries[platform],
        "config": parsed.config.digest,
        "layer": parsed.layers[-1].digest,
    }


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [Path.unlink, cut], ids=["gone", "cut"])
@pytest.mark.parametrize("part", ["index", "manifest", "config", "layer"])
def test_a_part_that_the_layout_has_lost_is_told(
    folder: Path, part: str, damage: Callable[[Path], None]
) -> None:
    write(folder, "FROM python:3.13")
    layout = Layout(folder / "l")
    digest = platform_parts(layout, "python:3.13", "linux/amd64")[part]
    damage(layout.blob_path(digest))
    command = ("check", "--layout", "l", "--platform", "linux/amd64")
    done = airgapbuild(*command, "--json", cwd=folder)
    assert done.returncode == 7, done.stderr
    told = document(done)
    assert told["error"]["problems"] == [
        f"Dockerfile:1: python:3.13 is in the layout, but {digest} of it is missing or damaged"
    ]
    assert told["error"]["hint"] == "airgapbuild load BUNDLE fills in what the layout has lost"
    assert (told["images"][0]["missing"], told["images"][0]["damaged"]) == ([], [digest])
    assert told["manifest"] == ""
    shown = airgapbuild(*command, cwd=folder).stdout
    assert shown.splitlines()[-1].split() == [
        *("python:3.13", "base", "linux/amd64", "Dockerfile:1", "damaged")
    ]


def test_what_a_build_does_not_take_may_be_lost(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    shelve(layout.path, "a:1", *BOTH)
    layout.blob_path(platform_parts(layout, "a:1", "linux/arm64")["config"]).unlink()
    write(tmp_path, "FROM a:1")
    command = ("check", "--layout", "l", "--platform")
    assert airgapbuild(*command, "linux/amd64", cwd=tmp_path).returncode == 0
    assert airgapbuild(*command, "linux/arm64", cwd=tmp_path).returncode == 7


def test_what_is_absent_and_what_was_lost_are_told_with_what_brings_each(folder: Path) -> None:
    layout = Layout(folder / "l")
    layout.blob_path(platform_parts(layout, "python:3.13", "linux/amd64")["config"]).unlink()
    write(folder, "FROM python:3.13")
    done = airgapbuild("check", "--layout", "l", "--platform", ",".join(BOTH), cwd=folder)
    assert done.returncode == 7
    assert "but not for linux/arm64" in done.stderr
    assert "is missing or damaged" in done.stderr
    assert "then lock, export" in done.stderr
    assert "airgapbuild load BUNDLE" in done.stderr


def test_an_image_of_one_platform_is_for_that_one_only(tmp_path: Path) -> None:
    shelve(tmp_path / "l", "a:1", "linux/amd64", index=False)
    write(tmp_path, "FROM a:1")
    command = ("check", "--layout", "l", "--platform")
    assert airgapbuild(*command, "linux/amd64/v2", cwd=tmp_path).returncode == 0
    assert airgapbuild(*command, "linux/arm64", cwd=tmp_path).returncode == 7


def test_onbuild_of_what_is_there_counts(tmp_path: Path) -> None:
    shelve(tmp_path / "l", "a:1", "linux/amd64", on_build=("COPY --from=b:2 / /",))
    write(tmp_path, "FROM a:1")
    done = airgapbuild("check", "--layout", "l", "--platform", "linux/amd64", cwd=tmp_path)
    assert done.stderr.splitlines()[0] == "error: Dockerfile:1: b:2 is not in the layout"


def test_the_scanner_of_sboms_counts_where_one_is_made(folder: Path) -> None:
    write(folder, "FROM --platform=linux/amd64 python:3.13")
    done = airgapbuild("check", "--json", "--layout", "l", "--sbom", cwd=folder)
    assert done.returncode == 7
    assert document(done)["manifest"] == (
        "[images.buildkit-syft-scanner]\n"
        'ref = "docker/buildkit-syft-scanner:stable-1"\n'
        'role = "base"\n'
    )


def test_a_stage_that_would_be_replaced_is_told(tmp_path: Path) -> None:
    shelve(tmp_path / "l", "python:latest", "linux/amd64")
    write(tmp_path, "FROM --platform=linux/amd64 python AS python\nRUN true\n")
    done = airgapbuild("check", "--layout", "l", cwd=tmp_path)
    assert done.returncode == 7
    assert "Dockerfile:1: stage 'python' has the name of an image" in done.stderr


def test_options_of_the_build_count(folder: Path) -> None:
    write(folder, "ARG V=1\nFROM python:$V AS a\nFROM x\nFROM y AS z", "a.Dockerfile")
    write(folder, "ARG V\nFROM python:${V}\nCOPY --from=own / /\nFROM scratch AS a\n", "b")
    options = ("--build-arg", "V=3.13", "--build-arg", "NONE", "--target", "a")
    command = ("check", "--layout", "l", "--platform=linux/amd64", *options)
    done = airgapbuild(*command, "--build-context", "own=..", "a.Dockerfile", "b", cwd=folder)
    assert done.returncode == 0, done.stderr
    in_env = ("check", "--layout", "l", "--platform=linux/amd64", "--build-arg", "V")
    done = airgapbuild(*in_env, "--target=a", "a.Dockerfile", cwd=folder, env={"V": "3.13"})
    assert done.returncode == 0, done.stderr


def test_what_another_frontend_reads_is_not_known(tmp_path: Path) -> None:
    shelve(tmp_path / "l", "corp/own:1", "linux/amd64")
    write(tmp_path, "# syntax=corp/own:1\nthis is no Dockerfile\n")
    done = airgapbuild("check", "--layout", "l", "--platform", "linux/amd64", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        "note: Dockerfile: only its frontend is known, not what that makes of it\n"
    )


def test_an_empty_layout_lacks_everything(tmp_path: Path) -> None:
    write(tmp_path, "FROM a@sha256:" + "0" * 64)
    done = airgapbuild("check", "--json", "--layout", "none", cwd=tmp_path)
    assert done.returncode == 7
    parse_manifest((HEAD + document(done)["manifest"]).encode(), "m", folder=tmp_path)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--platform", "plan9"), "--platform: 'plan9' is not a platform"),
        (("--build-context", "No=x"), "--build-context: 'No' is not a reference"),
        (("none",), "none: No such file"),
        (("--target", "x"), "no stage is called 'x'"),
    ],
)
def test_what_makes_no_sense_is_exit_2(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    write(tmp_path, "FROM a")
    done = airgapbuild("check", "--layout", "l", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
