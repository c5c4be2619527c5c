"""Blobs in pieces: shared out, given back, resumed. The bundle's bytes are always the same."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airgapbuild.bundle.frames import FRAME
from airgapbuild.bundle.reader import open_bundle
from airgapbuild.errors import BundleError, RangeIgnored, RegistryError
from airgapbuild.export import Exported, export
from airgapbuild.fetch import Pace
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airgapbuild.lockfile import Lock
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.reference import Reference

TEXT = b"""
version = 1
name = "b"
platforms = ["linux/amd64"]
[images.big]
ref = "big:1"
role = "tool"
[images.other]
ref = "other:1"
role = "tool"
"""
EAGER = Pace(workers=4, patience=0)
ALONE = Pace(workers=1)


@dataclass
class Slow(MemorySource):
    """The one stream of the large blob waits after its first chunk, until a part is asked for."""

    given: list[int] = field(default_factory=list)
    parts: int = 0
    asked_for_part: threading.Event = field(default_factory=threading.Event)
    refuse: Callable[[int], RegistryError | None] = lambda _: None
    breaks_after: int | None = None

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        for n, chunk in enumerate(super().blob(reference, descriptor)):
            if n and descriptor.size > 2 * FRAME:
                assert self.asked_for_part.wait(30)
            self.given.append(len(chunk))
            yield chunk

    def part(
        self, reference: Reference, descriptor: Descriptor, start: int, stop: int
    ) -> Iterator[bytes]:
        self.parts += 1
        number = self.parts
        try:
            if error := self.refuse(number):
                raise error
            for n, chunk in enumerate(super().part(reference, descriptor, start, stop)):
                if number == 1 and n == self.breaks_after:
                    raise RegistryError("cut off")
                self.given.append(len(chunk))
                yield chunk
        finally:
            self.asked_for_part.set()


@pytest.fixture(scope="module")
def plain() -> MemorySource:
    source = MemorySource(chunk=1 << 20)
    large = random.Random(1).randbytes(5 * FRAME + 12345)
    source.publish("big:1", "linux/amd64", layers=(large, b"top"))
    source.publish("other:1", "linux/amd64", layers=(large, b"other"))
    return source


@pytest.fixture(scope="module")
def lock(plain: MemorySource) -> Lock:
    return resolve(parse_manifest(TEXT, "m", folder=Path()), plain)


@pytest.fixture(scope="module")
def expected(
    plain: MemorySource, lock: Lock, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    export(lock, plain, folder, pace=ALONE)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def slow(plain: MemorySource, **more: object) -> Slow:
    return Slow(plain.manifests, plain.blobs, chunk=1 << 20, **more)  # type: ignore[arg-type]


def total(lock: Lock, plain: MemorySource) -> int:
    """The bytes of all blobs that are fetched, each once."""
    documents = {image.digest for image in lock.image}
    documents |= {locked.config for image in lock.image for locked in image.platform}
    return sum(len(raw) for digest, raw in plain.blobs.items() if digest not in documents)


def test_a_slow_stream_is_shared_out(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], tmp_path: Path
) -> None:
    source = slow(plain)
    exported = export(lock, source, tmp_path, pace=EAGER)
    assert source.parts > 0
    assert contents(tmp_path) == expected
    assert exported.fetched == total(lock, plain)


def test_where_ranges_are_ignored_the_one_stream_goes_on(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], tmp_path: Path
) -> None:
    source = slow(plain, refuse=lambda _: RangeIgnored("no ranges"))
    export(lock, source, tmp_path, pace=EAGER)
    assert source.parts > 0
    assert contents(tmp_path) == expected


def test_what_a_helper_could_not_bring_is_brought_by_another(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], tmp_path: Path
) -> None:
    source = slow(plain, breaks_after=1)
    export(lock, source, tmp_path, pace=EAGER)
    assert source.parts > 1
    assert contents(tmp_path) == expected


class Failing(MemorySource):
    """Breaks off in the large blob, after two frames and a little more."""

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        given = 0
        for chunk in super().blob(reference, descriptor):
            given += len(chunk)
            if given > 2 * FRAME + FRAME // 2:
                raise RegistryError("registry r: cut off", hint="wait")
            yield chunk


@pytest.fixture
def begun(plain: MemorySource, lock: Lock, tmp_path: Path) -> Path:
    """The folder of an export that a registry has failed."""
    failing = Failing(plain.manifests, plain.blobs, chunk=1 << 20)
    with pytest.raises(RegistryError, match="cut off") as caught:
        export(lock, failing, tmp_path, pace=ALONE)
    assert caught.value.hint == (
        "wait; what has arrived is kept: run it again, and it goes on from there"
    )
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    return tmp_path


def test_an_export_goes_on_where_it_stopped(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], begun: Path
) -> None:
    exported = export(lock, plain, begun, pace=ALONE)
    assert contents(begun) == expected
    assert exported.fetched <= total(lock, plain) - 2 * FRAME


def test_wrong_bytes_that_a_killed_run_has_left_are_fetched_anew(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], begun: Path
) -> None:
    for path in begun.iterdir():
        raw = bytearray(path.read_bytes())
        if len(raw) > FRAME:
            raw[FRAME // 2] ^= 1
        path.write_bytes(raw)
    export(lock, plain, begun)
    assert contents(begun) == expected


def test_a_registry_without_ranges_is_asked_for_the_whole_again(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], begun: Path
) -> None:
    source = slow(plain, refuse=lambda _: RangeIgnored("no ranges"))
    export(lock, source, begun)
    assert contents(begun) == expected


def test_what_was_begun_for_other_content_is_not_gone_on_from(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], begun: Path
) -> None:
    for path in begun.iterdir():
        path.write_bytes(random.Random(3).randbytes(path.stat().st_size))
    export(lock, plain, begun)
    assert contents(begun) == expected


def test_a_bundle_that_was_not_ended_is_not_read(
    plain: MemorySource, lock: Lock, tmp_path: Path
) -> None:
    export(lock, plain, tmp_path)
    (tmp_path / ".big_1_linux-amd64.oci.tar.zst.part").write_bytes(b"")
    with pytest.raises(BundleError, match="does not belong") as caught:
        open_bundle(tmp_path)
    assert caught.value.hint == "an export was cut off here: run it again until it ends well"


def test_tarballs_without_sums_are_proved_and_not_fetched_again(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """As a run leaves them that is killed between its last rename and its sums."""
    export(lock, plain, tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    exported: Exported = export(lock, plain, tmp_path)
    assert exported.fetched == 0
    assert contents(tmp_path) == expected


def test_a_whole_bundle_beside_a_begun_tarball_is_kept(
    plain: MemorySource, lock: Lock, expected: dict[str, bytes], tmp_path: Path
) -> None:
    export(lock, plain, tmp_path)
    (tmp_path / ".big_1_linux-amd64.oci.tar.zst.part").write_bytes(b"")
    assert export(lock, plain, tmp_path).fetched == 0
    assert contents(tmp_path) == expected
