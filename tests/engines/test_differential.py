"""Differential bundles in real daemons, of every engine and with every store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.engine.daemon import Daemon
from airgapbuild.errors import BundleError
from airgapbuild.inventory import take_inventory, write_inventory
from airgapbuild.load import LoadedImage, load_images, prove
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.reference import parse_reference
from tests.engines.shipment import payload
from tests.support.project import Project

if TYPE_CHECKING:
    from airgapbuild.bundle.reader import Bundle

COMPACT = Packaging(layers="compact", level=1)
TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "{name}"
role = "tool"
[images.python]
ref = "python:1"
role = "base"
"""
MORE = """
[images.other]
ref = "{name}-other"
role = "tool"
"""


@dataclass
class Gap:
    """A project on one side, a daemon and a layout on the other."""

    project: Project
    daemon: Daemon
    layout: Layout
    name: str

    def push(self, *layers: bytes) -> None:
        for name in (self.name, f"{self.name}-other"):
            self.project.source.publish(name, "linux/arm64", "linux/amd64", layers=layers)
        self.project.source.publish("python:1", "linux/amd64", layers=(*layers, b"python"))

    def load(self, bundle: Bundle, *bases: Bundle) -> dict[str, LoadedImage]:
        loaded = load_images(prove(bundle, bases), self.daemon, self.layout)
        return {it.image.name: it for it in loaded}

    def inventory(self) -> Path:
        path = self.project.folder / "inventory.json"
        write_inventory(path, take_inventory(self.daemon, self.layout))
        return path


@pytest.fixture
def gap(held: Daemon, name: str, tmp_path: Path) -> Gap:
    project = Project(tmp_path, TEXT.format(name=name))
    return Gap(project, held, Layout(tmp_path / "layout"), name)


def test_a_differential_goes_in_with_its_base_or_after_it(gap: Gap) -> None:
    base, middle = payload(300_000), payload(300_000)
    gap.push(base, middle, b"old")
    plain = gap.project.text
    gap.project.text += MORE.format(name=gap.name)
    old = gap.project.bundle("old")
    gap.project.text = plain
    gap.push(base, middle, b"new")
    new = gap.project.bundle("new", old.folder)

    with pytest.raises(BundleError) as refused:
        gap.load(new)
    kit, python = refused.value.lines
    assert kit.startswith("kit linux/amd64: neither the bundle nor the daemon has sha256:")
    assert python.startswith(f"python linux/amd64: neither the bundle nor {gap.layout.path} has ")
    assert refused.value.hint is not None
    assert f"the bundle 'b' (airgapbuild.lock {old.index.lock})" in refused.value.hint
    assert gap.daemon.image(gap.name) is None
    assert not gap.layout.path.exists()

    both = gap.load(new, old)
    assert both["kit"].action == both["python"].action == "loaded"
    assert both["kit"].sent > 600_000
    assert gap.daemon.image(f"{gap.name}-other") is None
    assert {it.action for it in gap.load(new).values()} == {"present"}

    gap.push(base, middle, b"newer")
    after = gap.load(gap.project.bundle("by-inventory", gap.inventory()))
    assert after["kit"].action == after["python"].action == "loaded"
    assert after["kit"].sent < 100_000
    assert after["python"].sent < 100_000
    image = gap.daemon.image(gap.name)
    assert image is not None
    assert image.id == after["kit"].id


def test_an_inventory_tells_diff_ids_and_no_names(gap: Gap) -> None:
    gap.push(payload(), b"old")
    gap.load(gap.project.bundle("old"))
    first = gap.inventory().read_text()
    image = gap.daemon.image(gap.name)
    assert image is not None
    assert all(diff_id in first for diff_id in image.diff_ids)
    assert image.id not in first
    assert parse_reference(gap.name).repository not in first
    assert gap.inventory().read_text() == first


def test_layers_that_the_daemon_has_in_another_compression(gap: Gap) -> None:
    """A containerd store keeps them as they came, a classic one unpacked."""
    base = payload(300_000)
    gap.push(base, b"old")
    gap.load(gap.project.bundle("old"))
    before = gap.daemon.image(gap.name)
    gap.push(base, b"new")
    new = gap.project.bundle("new", gap.inventory(), packaging=COMPACT)
    if gap.daemon.store == "classic":
        assert gap.load(new)["kit"].action == "loaded"
        return
    with pytest.raises(BundleError, match="neither the bundle nor the daemon has sha256:"):
        gap.load(new)
    assert gap.daemon.image(gap.name) == before


@pytest.mark.parametrize("packaging", [Packaging(), COMPACT], ids=["exact", "compact"])
def test_a_rebuilt_layer_is_told_by_the_one_that_the_daemon_has(
    gap: Gap, packaging: Packaging
) -> None:
    program = payload(300_000)
    gap.push(b"base", program, b"old")
    old = gap.project.bundle("old", packaging=packaging)
    gap.push(b"base", program[:100_000] + b"patched" + program[100_007:], b"new")
    new = gap.project.bundle("new", old.folder, packaging=COMPACT)
    told = [blob for file in new.index.files for blob in file.blobs if blob.reference]
    assert len(told) == (1 if packaging.layers == "exact" else 2)
    assert all(blob.length < blob.size / 30 for blob in told)
    with pytest.raises(BundleError, match="neither the bundle nor the daemon has sha256:"):
        gap.load(new)
    gap.load(old)
    loaded = gap.load(new)
    assert loaded["kit"].action == loaded["python"].action == "loaded"
    image = gap.daemon.image(gap.name)
    assert image is not None
    assert image.id == loaded["kit"].id
