"""Daemons that live on: loaded into again and again, and never littered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from airgapbuild.engine.daemon import Daemon
from airgapbuild.leftovers import Record, prune_builders, sweep
from airgapbuild.load import LoadedImage, load_images
from airgapbuild.oci.layout import Layout
from tests.engines.shipment import payload
from tests.support.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.digest import Digest
    from tests.engines.daemon import Daemon as BedDaemon

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.it]
ref = "{ref}"
{role}
"""


@dataclass
class Machine:
    """A daemon that lives on, the folders of a user of it, and what he gets from outside."""

    bed: BedDaemon
    daemon: Daemon
    folder: Path
    project: Project

    @property
    def record(self) -> Record:
        return Record(self.folder / "loaded", self.daemon)

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "layout")

    def load(self, ref: str, role: str = 'role = "tool"') -> tuple[Lock, tuple[LoadedImage, ...]]:
        """Pushes another image under this name, and loads it."""
        self.project.text = TEXT.format(ref=ref, role=role)
        layers = (payload(), payload())
        self.project.source.publish(ref, "linux/arm64", "linux/amd64", layers=layers)
        bundle = self.project.bundle("bundle")
        return bundle.lock, load_images(bundle, self.daemon, self.layout, record=self.record)

    def load_one(self, ref: str, role: str = 'role = "tool"') -> Digest:
        [loaded] = self.load(ref, role)[1]
        return loaded.id

    def dangling(self) -> set[str]:
        """The images of our tests that have no name."""
        shown = self.bed.docker("images", "--quiet", "--no-trunc", "--filter", "dangling=true")
        return set(shown.stdout.split())


@pytest.fixture
def machine(daemon: BedDaemon, held: Daemon, tmp_path: Path) -> Iterator[Machine]:
    daemon.docker("image", "prune", "--force")
    yield Machine(daemon, held, tmp_path, Project(tmp_path, ""))
    daemon.docker("container", "prune", "--force")


def test_a_base_image_goes_to_both_places_where_the_daemon_wants_it(
    machine: Machine, name: str
) -> None:
    for action in ("loaded", "present"):
        if action == "loaded":
            lock, loaded = machine.load(name, "daemon = true")
        else:
            bundle = machine.project.bundle("bundle")
            loaded = load_images(bundle, machine.daemon, machine.layout, record=machine.record)
        assert [(it.place, it.action) for it in loaded] == [("daemon", action), ("layout", action)]
    [image] = lock.image
    held = machine.daemon.image(name)
    assert held is not None
    assert held.id == loaded[0].id
    assert list(machine.layout.images().values()) == [image.digest]


def test_a_moved_name_leaves_nothing_dangling(machine: Machine, name: str) -> None:
    old = machine.load_one(name)
    new = machine.load_one(name)
    assert machine.dangling() == ({old} & {*machine.daemon.layer_chains()})
    sweep(machine.daemon, machine.record)
    assert machine.dangling() == set()
    assert machine.daemon.image(old) is None
    held = machine.daemon.image(name)
    assert held is not None
    assert held.id == new
    assert machine.record.images == (new,)


def test_an_older_image_with_another_name_stays(machine: Machine, name: str) -> None:
    old = machine.load_one(name)
    machine.bed.docker("tag", name, "corp.example/other:1")
    machine.load_one(name)
    assert sweep(machine.daemon, machine.record) == ()
    held = machine.daemon.image("corp.example/other:1")
    assert held is not None
    assert held.id == old


def test_what_others_made_stays_without_a_name(machine: Machine, name: str) -> None:
    """Loaded by docker itself, and then left without a name by a load of ours."""
    theirs = machine.load_one(name)
    stranger = replace(machine, folder=machine.folder / "stranger")
    stranger.load_one(name)
    assert sweep(machine.daemon, stranger.record) == ()
    assert machine.dangling() == ({theirs} & {*machine.daemon.layer_chains()})


def test_what_a_container_uses_stays_until_it_is_gone(machine: Machine, name: str) -> None:
    old = machine.load_one(name)
    machine.bed.docker("create", "--name", "user-of-it", name, "true")
    machine.load_one(name)
    before = machine.dangling()
    assert sweep(machine.daemon, machine.record) == ()
    assert machine.dangling() == before
    machine.bed.docker("rm", "user-of-it")
    swept = sweep(machine.daemon, machine.record)
    assert swept == ((old,) if before else ())  # 26.1's containerd store keeps no such image
    assert machine.dangling() == set()


def test_a_builder_image_of_another_users_is_known_by_its_name(machine: Machine, name: str) -> None:
    old = machine.load_one(name, 'role = "builder"')
    other = replace(machine, folder=machine.folder / "other")
    new = other.load_one(name, 'role = "builder"')
    sweep(machine.daemon, other.record)
    assert machine.dangling() == set()
    assert machine.daemon.image(old) is None
    assert machine.daemon.image(new) is not None


def test_builder_images_that_the_lock_does_not_name_are_pruned(machine: Machine, name: str) -> None:
    """Save what others have named, too, and what a container uses."""
    repository = name.removesuffix(":v1")
    for tag in ("gone", "named", "used"):
        machine.load_one(f"{repository}:{tag}", 'role = "builder"')
    machine.bed.docker("tag", f"{repository}:named", "corp.example/kit:1")
    machine.bed.docker("create", "--name", "user-of-it", f"{repository}:used", "true")
    tool = machine.load_one(name)
    lock, [loaded] = machine.load(f"{repository}:v2", 'role = "builder"')
    local = f"127.0.0.1:1/airgapbuild/{repository.partition('/')[2]}"
    before = {it for it in map(str, machine.daemon.names()) if repository.partition("/")[2] in it}
    found = {
        str(it.names[0]).rpartition(":")[2]: it
        for it in prune_builders(lock, machine.daemon)
        if it.names[0].repository.endswith(repository.partition("/")[2])
    }
    assert {tag: it.users for tag, it in found.items()} == {
        "gone": (),
        "named": (),
        "used": ("user-of-it",),
    }
    after = {it for it in map(str, machine.daemon.names()) if repository.partition("/")[2] in it}
    assert before - after == {
        f"{place}:{tag}" for place in (local, repository) for tag in ("gone", "named")
    }
    assert machine.daemon.image("corp.example/kit:1") is not None
    assert machine.daemon.image(tool) is not None
    assert machine.daemon.image(loaded.id) is not None
    assert machine.daemon.image(found["gone"].id) is None
    assert [it.users for it in prune_builders(lock, machine.daemon)] == [("user-of-it",)]
    machine.bed.docker("image", "rm", "corp.example/kit:1")
