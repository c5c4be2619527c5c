from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.diff import Diff, Difference, diff
from airgapbuild.errors import UsageError
from airgapbuild.export import export
from airgapbuild.lockfile import read_lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource
from tests.support.program import airgapbuild, document

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.kit]
ref = "kit:1"
role = "builder"
[images.tool]
ref = "tool:1"
role = "tool"
[builder]
name = "airgap"
image = "kit"
"""
SHARED = random.Random(1).randbytes(200_000)


@pytest.fixture(scope="module")
def source() -> MemorySource:
    source = MemorySource()
    source.publish("kit:1", "linux/amd64", "linux/arm64", layers=(SHARED, b"one"))
    source.publish("kit:2", "linux/amd64", "linux/arm64", layers=(SHARED, b"two"))
    source.publish("tool:1", "linux/amd64", "linux/arm64", layers=(SHARED, b"sh"))
    return source


@pytest.fixture
def make(source: MemorySource, tmp_path: Path) -> Callable[[str, str], Path]:
    def bundle(folder: str, text: str) -> Path:
        lock = resolve(parse_manifest(text.encode(), "m", folder=Path()), source)
        export(lock, source, tmp_path / folder)
        return tmp_path / folder

    return bundle


def lock_of(bundle: Path) -> Path:
    return bundle / "airgapbuild.lock"


def kinds(found: Diff) -> dict[str, str]:
    return {image.name: image.kind for image in found.images}


def whats(found: Diff) -> dict[str, tuple[str | None, str | None]]:
    [image] = found.images
    return {it.what: (it.old, it.new) for it in image.differences}


def test_a_bundle_and_itself_do_not_differ(make: Callable[[str, str], Path]) -> None:
    one = make("one", TEXT)
    for old, new in ((one, one), (lock_of(one), one), (one, lock_of(one))):
        found = diff(old, new)
        assert (found.images, found.settings, found.size) == ((), (), 0)
    assert diff(one, one).exact


def test_an_image_that_goes_to_the_daemon_as_well_is_told(make: Callable[[str, str], Path]) -> None:
    text = TEXT.replace('role = "tool"', 'role = "base"')
    found = diff(make("one", text), make("two", text.replace('"base"', '"base"\ndaemon = true')))
    assert kinds(found) == {"tool": "changed"}
    assert whats(found) == {"daemon": (None, "true")}


def test_a_moved_image_is_told_with_what_is_new(make: Callable[[str, str], Path]) -> None:
    one, two = make("one", TEXT), make("two", TEXT.replace("kit:1", "kit:2"))
    found = diff(one, two)
    assert kinds(found) == {"kit": "moved"}
    told = whats(found)
    assert told["ref"] == ("kit:1", "kit:2")
    assert set(told) == {"ref", "digest", "names", "linux/amd64", "linux/amd64 attestations"}
    assert found.exact
    # The shared layer is there already; a small layer and documents are new.
    assert 10_000 < found.size < 20_000


def test_a_lock_tells_about_as_much(make: Callable[[str, str], Path]) -> None:
    one, two = make("one", TEXT), make("two", TEXT.replace("kit:1", "kit:2"))
    exact = diff(one, two)
    for old, new in ((lock_of(one), two), (lock_of(one), lock_of(two)), (one, lock_of(two))):
        found = diff(old, new)
        assert found.images == exact.images
        assert not found.exact
        assert found.size > 10_000
    # The tool's tarball is in both: its layer is known to be there.
    assert diff(lock_of(one), two).size == exact.size


def test_added_and_removed_images_and_platforms(make: Callable[[str, str], Path]) -> None:
    one = make("one", TEXT)
    head, _, rest = TEXT.partition("[images.tool]")
    less = make("less", head + rest.partition('role = "tool"\n')[2])
    assert kinds(diff(one, less)) == {"tool": "removed"}
    assert kinds(diff(less, one)) == {"tool": "added"}
    assert diff(one, less).size == 0
    assert whats(diff(less, one))["ref"] == (None, "tool:1")
    more = make("more", TEXT.replace('["linux/amd64"]', '["linux/amd64", "linux/arm64"]'))
    found = diff(one, more)
    assert kinds(found) == {"kit": "changed", "tool": "changed"}
    for image in found.images:
        platforms = {it.what: it.old for it in image.differences}
        assert platforms == {"linux/arm64": None, "linux/arm64 attestations": None}


def test_names_role_and_settings(make: Callable[[str, str], Path]) -> None:
    one = make("one", TEXT)
    text = TEXT.replace('role = "tool"', 'role = "base"\ntags = ["tool:stable"]')
    two = make(
        "two", text.replace('"b"', '"c"') + "sealed = true\n[buildkitd.worker.oci]\ngc = false\n"
    )
    found = diff(one, two)
    assert whats(found) == {
        "role": ("tool", "base"),
        "names": ("tool:1", "tool:1, tool:stable"),
    }
    assert found.settings == (
        Difference("name", "b", "c"),
        Difference("builder.sealed", None, "true"),
        Difference("buildkitd.worker.oci.gc", None, "false"),
    )
    assert found.size == 0


def test_what_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        diff(tmp_path / "nothing", tmp_path)


def test_the_command_ends_well_with_and_without_a_difference(
    make: Callable[[str, str], Path],
) -> None:
    one, two = make("one", TEXT), make("two", TEXT.replace("kit:1", "kit:2"))
    same = airgapbuild("diff", one, one)
    assert (same.returncode, same.stdout) == (0, f"{one} and {one} are the same\n")
    told = airgapbuild("diff", "one", "two/airgapbuild.lock", cwd=one.parent)
    assert told.returncode == 0
    assert told.stdout.splitlines()[1].split() == ["kit", "moved", "ref", "kit:1", "kit:2"]
    assert "new content: about " in told.stdout
    done = document(airgapbuild("diff", "--json", one, two))
    assert done["changed"] is True
    assert done["new-content"]["exact"] is True
    assert done["images"][0]["change"] == "moved"
    assert document(airgapbuild("diff", "--json", one, one))["changed"] is False


def test_serials_of_bundles_differ_and_a_lock_has_none(
    make: Callable[[str, str], Path], source: MemorySource
) -> None:
    old, new = make("old", TEXT), make("new", TEXT)
    lock = read_lock(lock_of(new))
    export(lock, source, new, packaging=Packaging(serial=7))
    assert diff(old, new).settings == (Difference("serial", None, "7"),)
    assert diff(lock_of(old), new).settings == ()
    assert diff(new, new).settings == ()
