"""Daemons that live on: loaded into again and again, and never littered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.engine.daemon import Daemon
from airgapbuild.errors import UsageError
from airgapbuild.leftovers import Record, prune_builders
from airgapbuild.load import LoadedImage, load_images, prove
from airgapbuild.oci.layout import Layout
from tests.engines.daemon import DISTINCT
from tests.engines.shipment import payload
from tests.engines.site import Site
from tests.support.program import document
from tests.support.project import Project
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.digest import Digest
    from tests.engines.daemon import Daemon as BedDaemon
    from tests.engines.daemon import Engine, Store

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
        return self.load_again()

    def load_again(self) -> tuple[Lock, tuple[LoadedImage, ...]]:
        bundle = self.project.bundle("bundle")
        with self.record.watching(bundle.lock):
            return bundle.lock, load_images(prove(bundle), self.daemon, self.layout)

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
        is_first = action == "loaded"
        lock, loaded = machine.load(name, "daemon = true") if is_first else machine.load_again()
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
    machine.record.sweep()
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
    assert machine.record.sweep() == ()
    held = machine.daemon.image("corp.example/other:1")
    assert held is not None
    assert held.id == old


def test_what_others_made_stays_without_a_name(machine: Machine, name: str) -> None:
    """Loaded by docker itself, and then left without a name by a load of ours."""
    theirs = machine.load_one(name)
    stranger = replace(machine, folder=machine.folder / "stranger")
    stranger.load_one(name)
    assert stranger.record.sweep() == ()
    assert machine.dangling() == ({theirs} & {*machine.daemon.layer_chains()})


def test_what_a_container_uses_stays_until_it_is_gone(machine: Machine, name: str) -> None:
    old = machine.load_one(name)
    machine.bed.docker("create", "--name", "user-of-it", name, "true")
    machine.load_one(name)
    before = machine.dangling()
    assert machine.record.sweep() == ()
    assert machine.dangling() == before
    machine.bed.docker("rm", "user-of-it")
    swept = machine.record.sweep()
    assert swept == ((old,) if before else ())  # 26.1's containerd store keeps no such image
    assert machine.dangling() == set()


def test_a_builder_image_of_another_users_is_known_by_its_name(machine: Machine, name: str) -> None:
    old = machine.load_one(name, 'role = "builder"')
    other = replace(machine, folder=machine.folder / "other")
    new = other.load_one(name, 'role = "builder"')
    other.record.sweep()
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


def test_names_that_are_wanted_or_not_from_us_are_not_pruned(machine: Machine, name: str) -> None:
    """The lock has the older builder image as a tool; others have named it in their own ways."""
    repository = name.removesuffix(":v1")
    path = repository.partition("/")[2]
    old = machine.load_one(f"{repository}:v1", 'role = "builder"')
    theirs = {f"{repository}:mine", f"corp.example/{path}:v1", f"corp.example/{path}:mine"}
    for text in theirs:
        machine.bed.docker("tag", f"{repository}:v1", text)
    machine.load(f"{repository}:v2", 'role = "builder"')
    machine.project.text += f'[images.tool]\nref = "{repository}:v1"\nrole = "tool"'
    lock, _ = machine.load_again()

    def names() -> set[str]:
        return {str(it) for it, image in machine.daemon.names().items() if image == old}

    local = f"127.0.0.1:1/airgapbuild/{path}:v1"
    assert names() == {f"{repository}:v1", local, *theirs}
    mine = [it for it in prune_builders(lock, machine.daemon) if it.id == old]
    assert [str(it) for it in mine[0].names] == [local]
    assert names() == {f"{repository}:v1", *theirs}
    machine.bed.docker("image", "rm", *theirs)


BUILDER = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "example.org/lived/moby/buildkit:v1"
tags = ["example.org/lived/kit:stable"]
[images.tool]
ref = "example.org/lived/tool:1"
role = "tool"
[images.base]
ref = "example.org/lived/base:1"
daemon = true
[images.frontend]
ref = "example.org/lived/docker/dockerfile:1"
[builder]
name = "lived"
image = "kit"
[buildkitd.log]
level = "debug"
"""
IMAGES = ("moby/buildkit:v1", "tool:1", "base:1", "docker/dockerfile:1")


@dataclass
class User:
    """Somebody with a home of his own, on a daemon that lives on."""

    site: Site
    bundle: Path
    log: str = ""

    def run(self, command: str, *options: str | Path) -> dict[str, Any]:
        done = self.site.airgapbuild(command, "--json", *options)
        assert done.returncode == 0, done.stderr
        self.log = done.stderr
        return document(done)

    def load(self) -> dict[str, Any]:
        return self.run("load", "--no-boot", self.bundle)

    def unload(self, *options: str | Path) -> dict[str, str | None]:
        """What was taken back, and why it stayed where it did."""
        undone = self.run("unload", *(options or (self.bundle,)))["undone"]
        return {f"{it['what']} {it['name']}": it["kept"] for it in undone}

    def files(self) -> dict[str, tuple[bytes, int]]:
        """All files of his, with the time when each was changed."""
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns)
            for folder in (self.site.home, self.site.config)
            for path in folder.rglob("*")
            if path.is_file()
        }

    def held(self) -> list[str]:
        """All that the daemon holds."""
        every = ("--no-trunc", "--format", "{{json .}}")
        shown = [
            self.site.docker("image", "ls", "--all", "--digests", *every),
            self.site.docker("container", "ls", "--all", "--format", "{{.ID}} {{.Names}}"),
            self.site.docker("volume", "ls", "--format", "{{.Name}}"),
        ]
        ages = re.compile(r'"CreatedSince":"[^"]*",?')
        return sorted(ages.sub("", line) for text in shown for line in text.splitlines())


def on(*pairs: tuple[Engine, Store]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("daemon", pairs, indirect=True, ids="-".join, scope="session")


@on(("28.5", "containerd"))
def test_a_record_that_cannot_be_written_is_told(machine: Machine, name: str) -> None:
    (machine.folder / "loaded").touch()
    with pytest.raises(UsageError, match="loaded: File exists") as caught:
        machine.load_one(name)
    assert caught.value.hint == "XDG_DATA_HOME names another folder"


distinct = on(*DISTINCT)
newest = on(("newest", "classic"), ("newest", "containerd"))


@pytest.fixture
def user(daemon: BedDaemon, tmp_path: Path) -> User:
    for folder in ("home", "config"):
        (tmp_path / folder).mkdir()
    project = Project(tmp_path, BUILDER)
    for n, image in enumerate(IMAGES):
        layers = (b"shared", f"{n}".encode())
        ref = f"example.org/lived/{image}"
        project.source.publish(ref, "linux/amd64", "linux/arm64", layers=layers)
    project.export("bundle")
    return User(Site(daemon, tmp_path / "config", tmp_path / "home"), tmp_path / "bundle")


@distinct
def test_a_second_load_sends_nothing_and_changes_nothing(user: User, tmp_path: Path) -> None:
    site = user.site.copy()
    with Relay(site.daemon.socket, tmp_path / "relay.sock") as relay:
        site.daemon.env["DOCKER_HOST"] = f"unix://{relay.path}"
        user = replace(user, site=site)
        user.load()
        before = (user.files(), user.held())
        relay.sent.clear()
        again = user.load()
        asked = set(re.findall(rb"(?m)^([A-Z]+) \S+ HTTP/1\.1\r$", relay.sent))
        after = (user.files(), user.held())
        assert dict(after[0].items() ^ before[0].items()) == {}
        assert after[1] == before[1]
        user.unload()
    assert asked <= {b"GET", b"HEAD"}
    assert {image["action"] for image in again["images"]} == {"present"}
    assert sum(image["sent"] for image in again["images"]) == 0
    assert again["builder"]["changed"] is False
    assert (again["swept"], again["older-builders"]) == ([], [])


@distinct
def test_unload_takes_back_what_load_did(user: User) -> None:
    before = user.held()
    user.load()
    assert user.held() != before
    given = user.bundle / "airgapbuild.lock"
    undone = user.unload(given)
    assert set(undone.values()) == {None}
    assert {key.partition(" ")[0] for key in undone} == {
        *("builder", "buildkitd.toml", "daemon", "layout"),
    }
    assert user.held() == before
    data = user.site.home / ".local/share/airgapbuild"
    left = {Path(path) for path in user.files()}
    assert {path for path in left if data / "layout/blobs" not in path.parents} == {
        data / "layout/.airgapbuild.lock",
        data / "layout/.airgapbuild.filling.lock",
        data / "layout/index.json",
        data / "layout/oci-layout",
        user.site.config / "buildx/.lock",
    }
    assert json.loads((data / "layout/index.json").read_bytes())["manifests"] == []
    assert user.unload(given) == {}
    assert user.site.airgapbuild("unload", given).stdout == "there is nothing to take back\n"


@newest
def test_what_was_changed_since_is_left_alone_and_told(user: User) -> None:
    user.load()
    site, layout = user.site, user.site.home / ".local/share/airgapbuild/layout"
    kit, tool, base = (f"example.org/lived/{it}" for it in IMAGES[:3])
    site.docker("tag", kit, tool)
    site.docker("create", "--name", "lived-user", base, "true")
    instance = site.config / "buildx/instances/lived"
    instance.write_text(instance.read_text().replace("--debug", "--trace").replace("{", "{ ", 1))
    document = json.loads(instance.read_text())
    document["Nodes"][0]["Flags"] = ["--trace"]
    instance.write_text(json.dumps(document))
    toml = site.home / ".config/airgapbuild/lived/buildkitd.toml"
    toml.write_text("debug = true\n")
    index = json.loads((layout / "index.json").read_bytes())
    [entry] = [it for it in index["manifests"] if "base" in json.dumps(it["annotations"])]
    [other] = [it for it in index["manifests"] if "base" not in json.dumps(it["annotations"])]
    entry["digest"] = other["digest"]
    (layout / "index.json").write_text(json.dumps(index))
    files = user.files()
    try:
        kept = {what: why for what, why in user.unload().items() if why}
        assert kept.keys() == {
            "builder lived",
            f"buildkitd.toml {toml}",
            f"daemon {tool}",
            f"daemon {base}",
            f"layout {base}",
        }
        assert kept["builder lived"] == "was changed since"
        assert kept[f"daemon {base}"] == "is used by lived-user"
        assert "which is not what was locked" in (kept[f"daemon {tool}"] or "")
        assert "which is not what was locked" in (kept[f"layout {base}"] or "")
        for path in (instance, site.config / "buildx/current", toml):
            assert user.files()[str(path)] == files[str(path)]
        words = site.airgapbuild("unload", user.bundle).stdout
        assert f"name in the daemon  {base}" in words
        assert "stays: it is used by lived-user" in words
    finally:
        site.docker("rm", "lived-user")
        site.docker("image", "rm", "--force", tool, base)


@newest
def test_the_images_of_a_compact_bundle_are_taken_back_by_the_bundle(user: User) -> None:
    before = user.held()
    project = Project(user.bundle.parent, BUILDER)
    for image in IMAGES:
        ref = f"example.org/lived/{image}"
        project.source.publish(ref, "linux/amd64", "linux/arm64", layers=(b"c", image.encode()))
    project.export("compact", packaging=Packaging(layers="compact", level=1))
    user = replace(user, bundle=user.bundle.parent / "compact")
    user.load()
    assert set(user.unload().values()) == {None}
    assert user.held() == before
    assert user.unload() == {}
