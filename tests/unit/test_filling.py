"""Images of bundles in a layout, brought there in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.filling import fill
from airgapbuild.oci.content import parse_index, parse_manifest
from airgapbuild.oci.garbage import prune
from airgapbuild.oci.layout import Layout
from airgapbuild.progress import SILENT
from airgapbuild.supply import Supply
from tests.support.project import Project

if TYPE_CHECKING:
    from airgapbuild.filling import Filled

AMD64, ARM64 = BOTH = ("linux/amd64", "linux/arm64")
TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.base]
ref = "base:1"
tags = ["base:stable"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path, TEXT)
    project.source.publish("base:1", *BOTH)
    return project


def bring(project: Project, layout: Layout, *platforms: str) -> Filled:
    """Fills in a compact bundle that has come with these tarballs only."""
    bundle = project.bundle("b", packaging=Packaging(layers="compact", level=1))
    for file in bundle.folder.glob("*.oci.tar.zst"):
        if not any(it.replace("/", "-") in file.name for it in platforms):
            file.unlink()
    [image] = bundle.lock.image
    return fill(Supply(open_bundle(bundle.folder), ()), layout, image, SILENT)


def held(layout: Layout) -> dict[str, list[str]]:
    """The platforms by name."""
    return {
        name.familiar: sorted(str(config.platform) for config in layout.configs(digest))
        for name, digest in layout.images().items()
    }


@pytest.mark.parametrize(("first", "second"), [((AMD64,), (ARM64,)), (BOTH, (AMD64,))])
def test_fewer_tarballs_take_no_platform_away(
    project: Project, tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    layout = Layout(tmp_path / "l")
    bring(project, layout, *first)
    filled = bring(project, layout, *second)
    assert held(layout) == {"base:1": [*BOTH], "base:stable": [*BOTH]}
    assert set(layout.images().values()) == {filled.top.digest}
    prune(layout)
    assert held(layout) == {"base:1": [*BOTH], "base:stable": [*BOTH]}
    assert bring(project, Layout(tmp_path / "whole"), *BOTH).top == filled.top
    assert bring(project, layout, *first).action == "present"


def test_a_platform_of_another_image_goes(project: Project, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    bring(project, layout, *BOTH)
    project.source.publish("base:1", *BOTH, layers=(b"newer",))
    bring(project, layout, AMD64)
    assert held(layout) == {"base:1": [AMD64], "base:stable": [AMD64]}


def test_a_platform_that_has_lost_a_blob_goes(project: Project, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    top = layout.document(bring(project, layout, *BOTH).top.digest)
    assert top is not None
    [lost] = [it for platform, it in parse_index(top, "top").platforms if str(platform) == ARM64]
    manifest = layout.document(lost.digest)
    assert manifest is not None
    layout.blob_path(parse_manifest(manifest, "manifest").config.digest).unlink()
    bring(project, layout, AMD64)
    assert held(layout)["base:1"] == [AMD64]
    [left] = {layout.document(digest) for digest in layout.images().values()}
    assert left is not None
    assert len(parse_index(left, "left").platforms) == 1
