"""A layout that several processes share, and what is swept out of it."""

from __future__ import annotations

import fcntl
import json
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.older import copied
from airgapbuild.errors import BundleError, UsageError
from airgapbuild.lockfile import read_lock
from airgapbuild.oci.content import OCI_MANIFEST, Descriptor, content
from airgapbuild.oci.derived import DERIVED_FROM
from airgapbuild.oci.digest import digest_of
from airgapbuild.oci.garbage import garbage, held, prune, reachable
from airgapbuild.oci.layout import IMAGE_NAME, Layout
from tests.support.program import PROGRAM, airgapbuild, document, environment
from tests.support.project import Project
from tests.support.shelf import descriptor_of, shelve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOTH = ("linux/amd64", "linux/arm64")

# A load: what it puts there is named when somebody says so.
SLOW = """
import sys
from pathlib import Path
from airgapbuild.oci.layout import Layout
from tests.support.shelf import descriptor_of
layout = Layout(Path(sys.argv[1]))
blob = descriptor_of(b"slow")
with layout.filling():
    layout.put(blob, iter([b"slow"]))
    print("put", flush=True)
    sys.stdin.readline()
    layout.name(blob, ("docker.io/library/slow:1",))
"""
# Loads, one after another, which put the same blobs there again and again.
LOADS = """
import sys
from pathlib import Path
from airgapbuild.oci.layout import Layout
from tests.support.shelf import descriptor_of
layout, own = Layout(Path(sys.argv[1])), sys.argv[2]
for n in range(60):
    raws = [f"{own} {n}".encode(), f"shared {n % 3}".encode()]
    with layout.filling():
        for raw in raws:
            blob = descriptor_of(raw)
            if not layout.holds(blob):
                layout.put(blob, iter([raw]))
        for raw in raws:
            layout.name(descriptor_of(raw), (f"docker.io/{own}/{len(raw) % 2}:1",))
        assert all(layout.holds(descriptor_of(raw)) for raw in raws)
"""
PRUNES = """
import sys
from pathlib import Path
from airgapbuild.oci.garbage import prune
from airgapbuild.oci.layout import Layout
for _ in range(60):
    prune(Layout(Path(sys.argv[1])))
"""


UNLOAD = """
import sys
from pathlib import Path
from airgapbuild.lockfile import read_lock
from airgapbuild.oci.layout import Layout
from airgapbuild.unload import unload_layout
layout, lock = Layout(Path(sys.argv[1])), read_lock(Path(sys.argv[2]))
print("begun", flush=True)
unload_layout(lock, layout)
"""


def python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM.parent / "python", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment({"PYTHONPATH": "."}),
    )


def put(layout: Layout, raw: bytes) -> Descriptor:
    layout.put(descriptor_of(raw), iter([raw]))
    return descriptor_of(raw)


def test_what_an_image_needs_stays(tmp_path: Path) -> None:
    shelve(tmp_path, "a:1", *BOTH, absent=("linux/arm64",))
    shelve(tmp_path, "b:1", "linux/amd64", index=False)
    layout = Layout(tmp_path)
    before = held(layout)
    strays = sorted(put(layout, raw).digest for raw in (b"stray", b"{}"))
    absent = set(before) - reachable(layout, layout.roots())
    assert len(absent) == 2  # config and layer of the platform whose manifest is not there
    gone = sorted(layout.blob_path(digest) for digest in (*absent, *strays))
    assert sorted(file.path for file in garbage(layout)) == gone
    assert sorted(file.path for file in prune(layout)) == gone
    assert set(held(layout)) == set(before) - absent
    assert prune(layout) == ()


def test_a_name_that_moves_leaves_its_image_to_be_swept_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    shelve(tmp_path, "a:1", "linux/amd64")
    old = set(held(layout))
    assert prune(layout) == ()
    new = shelve(tmp_path, "a:1", "linux/amd64", on_build=("RUN true",))
    gone = {file.path for file in prune(layout)}
    assert gone
    assert {layout.blob_path(it) for it in old} >= gone
    assert layout.configs(new)
    assert set(held(layout)) == reachable(layout, [new])
    assert old & set(held(layout))  # the layers of both


@pytest.mark.parametrize("deep", [False, True])
def test_what_refers_to_an_image_stays_with_it(tmp_path: Path, *, deep: bool) -> None:
    layout = Layout(tmp_path)
    subject = shelve(tmp_path, "a:1", "linux/amd64")
    for _ in range(1 + deep):
        signed = put(layout, b"signed by " + subject.encode())
        raw = {"layers": [signed.model_dump(by_alias=True)], "subject": {"digest": subject}}
        subject = put(layout, json.dumps(raw).encode()).digest
    assert prune(layout) == ()
    other = json.dumps({"layers": [], "subject": {"digest": digest_of(b"gone")}}).encode()
    assert put(layout, other).digest not in reachable(layout, layout.roots())
    assert [file.size for file in prune(layout)] == [len(other)]


def test_what_a_derived_image_comes_from_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    upstream = put(layout, b'{"layers": []}')
    raw = json.dumps({"layers": [], "annotations": {DERIVED_FROM: upstream.digest}}).encode()
    derived = content(raw, OCI_MANIFEST).descriptor
    layout.put(derived, iter([raw]))
    layout.name(derived, ("docker.io/library/a:1",))
    assert prune(layout) == ()


def test_what_others_have_entered_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layer = put(layout, b"layer")
    raw = json.dumps({"blobs": [layer.model_dump(by_alias=True), {"digest": "no"}, 1]}).encode()
    artifact = put(layout, raw)
    entry = {"mediaType": OCI_MANIFEST, "digest": artifact.digest, "size": artifact.size}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [entry, {"digest": "no"}]}))
    assert prune(layout) == ()


@pytest.mark.parametrize("media_type", [{"a": 1}, ["a"], 1, None])
def test_a_blob_that_says_nonsense_stops_nobody(tmp_path: Path, media_type: object) -> None:
    layout = Layout(tmp_path)
    layer = put(layout, b"layer")
    entry = {"mediaType": media_type, "digest": layer.digest}
    layout.name(put(layout, json.dumps({"layers": [entry]}).encode()), ("docker.io/library/a:1",))
    subject = json.dumps({"subject": {"digest": layer.digest}, "config": entry}).encode()
    put(layout, subject)
    assert prune(layout) == ()


def test_names_that_are_none_are_left_out(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    blob = put(layout, b"a")
    odd = {"digest": blob.digest, "annotations": {IMAGE_NAME: {"a": 1}}}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [odd]}))
    assert layout.images() == {}
    layout.name(blob, ("docker.io/library/a:1",))
    layout.unname({"docker.io/library/b:1": blob.digest})
    assert [name.familiar for name in layout.images()] == ["a:1"]


def test_an_index_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(b'{"manifests":' + b"[" * 100_000)
    with pytest.raises(BundleError, match=r"index\.json: not an OCI index"):
        Layout(tmp_path).images()


@pytest.mark.parametrize("command", [("layout", "ls"), ("layout", "prune"), ("contexts",)])
def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    shelve(tmp_path / "l", "a:1", "linux/amd64")
    (tmp_path / "l" / "index.json").unlink()
    (tmp_path / "l" / "index.json").mkdir()
    done = airgapbuild(*command, "--layout", tmp_path / "l")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/l/index.json: Is a directory",
        " hint: another folder is named by --layout or XDG_DATA_HOME, for serve by --cache",
    ]


def refused(use: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        use()
    assert caught.value.hint
    return caught.value.message


def test_whatever_the_system_refuses_is_told(tmp_path: Path) -> None:
    """Below a file there can be no folder."""
    layout, blob = Layout(tmp_path / "file" / "l"), descriptor_of(b"a")
    (tmp_path / "file").touch()
    uses: list[Callable[[], object]] = [
        lambda: layout.holds(blob),
        lambda: layout.document(blob.digest),
        lambda: layout.put(blob, iter([b"a"])),
        lambda: layout.filling().__enter__(),
        lambda: layout.sweeping(lambda: None).__enter__(),
        lambda: layout.name(blob, ("docker.io/library/a:1",)),
        lambda: layout.unname({}),
        layout.images,
        lambda: copied(iter([b"a"]), 1, layout.path),
    ]
    for use in uses:
        message = refused(use)
        assert message.startswith(f"{tmp_path}/file")
        assert message.endswith((": Not a directory", ": File exists"))


@pytest.fixture
def scarce() -> Iterator[None]:
    """No file may have more than 1000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("scarce")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    raw = b"a" * 2000
    layout = Layout(tmp_path)
    for use in (lambda: copied(iter([raw]), 4000, tmp_path), lambda: put(layout, raw)):
        assert refused(use) == f"{tmp_path}: File too large"
    assert held(layout) == {}


def test_what_a_killed_load_left_goes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    shelve(tmp_path, "a:1", "linux/amd64")
    (tmp_path / "blobs" / "sha256" / f".{'0' * 64}.x.part").write_bytes(b"half")
    (tmp_path / ".index.json.x.part").write_bytes(b"half")
    assert [file.size for file in prune(layout)] == [4, 4]
    assert not list(tmp_path.rglob("*.part"))


def test_pruning_waits_for_a_load(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with python(SLOW, tmp_path) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        assert load.stdout.readline() == "put\n"
        with subprocess.Popen(
            [PROGRAM, "layout", "prune", "--layout", tmp_path],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as pruning:
            assert pruning.stderr is not None
            assert "waiting until a load is done" in pruning.stderr.readline()
            assert layout.holds(descriptor_of(b"slow"))
            load.stdin.write("\n")
            load.stdin.close()
    assert (load.returncode, pruning.returncode) == (0, 0)
    assert layout.holds(descriptor_of(b"slow"))
    assert len(layout.images()) == 1


def test_loads_and_prunings_at_once_lose_nothing(tmp_path: Path) -> None:
    running = [python(LOADS, tmp_path, "a"), python(LOADS, tmp_path, "b"), python(PRUNES, tmp_path)]
    for process in running:
        process.communicate(timeout=120)
    assert [process.returncode for process in running] == [0, 0, 0]
    layout = Layout(tmp_path)
    assert {name.repository.partition("/")[0] for name in layout.images()} == {"a", "b"}
    assert all(layout.blob_path(digest).exists() for digest in layout.images().values())
    prune(layout)
    assert set(held(layout)) == set(layout.images().values())


def test_an_image_is_chosen_while_nobody_else_gives_names(tmp_path: Path) -> None:
    layout, blob = Layout(tmp_path), descriptor_of(b"a")

    def choose() -> Descriptor:
        with (tmp_path / ".airgapbuild.lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return blob

    assert layout.name_chosen(choose, ("docker.io/library/a:1",)) == (blob, True)
    assert layout.name_chosen(choose, ("docker.io/library/a:1",)) == (blob, False)


def test_an_unload_waits_for_pruning(tmp_path: Path) -> None:
    """Which would take the new index.json, under construction, for what a killed run left."""
    text = 'version = 1\nname = "b"\nplatforms = ["linux/amd64"]\nimages.a.ref = "a:1"'
    project, layout = Project(tmp_path, text), Layout(tmp_path / "l")
    project.source.publish("a:1", "linux/amd64")
    path = project.lock_file()
    [image] = read_lock(path).image
    layout.name(image.top, ("docker.io/library/a:1",))
    with layout.sweeping(lambda: None):
        unload = python(UNLOAD, layout.path, path)
        assert unload.stdout is not None
        assert unload.stdout.readline() == "begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            unload.wait(timeout=0.5)
        assert layout.images()
    unload.communicate(timeout=60)
    assert unload.returncode == 0
    assert not layout.images()


def test_the_commands_tell_what_is_there_and_what_went(tmp_path: Path) -> None:
    digest = shelve(tmp_path, "a:1", *BOTH)
    layout = Layout(tmp_path)
    needed = sum(held(layout).values())
    put(layout, b"stray")
    told = document(airgapbuild("layout", "ls", "--json", "--layout", tmp_path))
    assert told["images"] == [
        {"name": "a:1", "digest": digest, "platforms": [*BOTH], "size": needed}
    ]
    assert (told["size"], told["unused"]) == (needed + 5, 5)
    shown = airgapbuild("layout", "ls", "--layout", tmp_path).stdout
    assert shown.splitlines()[-1].endswith(
        f"; airgapbuild layout prune --layout {tmp_path} removes 5 B"
    )
    for option in ("--dry-run", "--color=never"):
        done = document(airgapbuild("layout", "prune", "--json", option, "--layout", tmp_path))
        assert done["dry-run"] == (option == "--dry-run")
        assert done["size"] == 5
    assert sum(held(layout).values()) == needed


def test_names_are_taken_away_or_none_is(tmp_path: Path) -> None:
    digest = shelve(tmp_path, "a:1", *BOTH)
    layout = Layout(tmp_path)
    argv = ("layout", "rm", "--layout", tmp_path)
    done = airgapbuild(*argv, "a:1", "a:2", "A:3")
    assert done.returncode == 2
    assert f"error: a:2: {tmp_path} has no such name\n" in done.stderr
    assert "'A:3'" in done.stderr
    assert " hint: airgapbuild layout ls lists the names\n" in done.stderr
    assert [name.familiar for name in layout.images()] == ["a:1"]
    told = document(airgapbuild(*argv, "--json", "docker.io/library/a:1"))
    assert told["removed"] == [{"name": "a:1", "digest": digest}]
    assert told["unused"] == sum(held(layout).values())
    assert not layout.images()


def test_a_layout_that_is_not_there_is_empty(tmp_path: Path) -> None:
    for command in ("ls", "prune"):
        done = airgapbuild("layout", command, "--layout", tmp_path / "none")
        assert done.returncode == 0
    assert not (tmp_path / "none").exists()


def test_a_layout_that_is_none_loses_nothing(tmp_path: Path) -> None:
    blob = put(Layout(tmp_path), b"blob")
    (tmp_path / "index.json").write_text("[]")
    done = airgapbuild("layout", "prune", "--layout", tmp_path)
    assert done.returncode == 7
    assert "not an OCI index" in done.stderr
    assert Layout(tmp_path).holds(blob)


def test_a_layout_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in ("ls", "prune"):
        done = airgapbuild("layout", command, "--layout", tmp_path / "file")
        assert done.returncode == 2
        assert f"{tmp_path / 'file'}" in done.stderr
