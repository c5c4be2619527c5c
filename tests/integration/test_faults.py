"""Whatever the network does, lock and export end in the right bytes, or in an error and nothing."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgapbuild.bundle.index import is_partial
from airgapbuild.credentials import ANONYMOUS
from airgapbuild.errors import AirgapbuildError, IntegrityError, RegistryError
from airgapbuild.export import export
from airgapbuild.lockfile import Lock, write_lock
from airgapbuild.manifest import Manifest, RegistrySettings, parse_manifest
from airgapbuild.oci.digest import Digest, digest_of
from airgapbuild.registry import RegistrySource, Timeouts
from airgapbuild.resolve import resolve
from tests.engines import pki
from tests.engines.registry import Registry
from tests.integration.faults import Server
from tests.integration.faulty import (
    Fault,
    Faulty,
    Forward,
    Schedule,
    cut,
    forward_to,
    no_range,
    redirect,
    stall,
    status,
    wrong_byte,
    wrong_length,
)
from tests.integration.reading import AT_ONCE, PATIENT
from tests.support.memory import MemorySource
from tests.support.program import HEARS_SIGNALS, PROGRAM, airgapbuild, environment
from tests.support.push import push

if TYPE_CHECKING:
    from airgapbuild.oci.source import RangedSource, ReferringSource
    from tests.engines.parts.part import Shelf

TEXT = """
version = 1
name = "small"
platforms = ["linux/amd64", "linux/arm64"]
[images.index]
ref = "app/index:1"
role = "tool"
[images.single]
ref = "app/single:1"
role = "tool"
platforms = ["linux/amd64"]
[registries."docker.io"]
mirrors = ["{mirror}"]
upstream = false
"""
QUICK = Timeouts(connect=20, read=0.5, retries=AT_ONCE)
Files: TypeAlias = dict[str, Digest]


def contents(folder: Path, pattern: str = "*") -> Files:
    """What is there, but for the parts of tarballs from which the next export goes on."""
    return {
        path.name: digest_of(path.read_bytes())
        for path in folder.glob(pattern)
        if not is_partial(path.name)
    }


def manifest(mirror: str = "mirror.invalid") -> Manifest:
    return parse_manifest(TEXT.format(mirror=mirror).encode(), "m", folder=Path())


@pytest.fixture(scope="module")
def memory() -> MemorySource:
    """Images whose largest layer takes more than one read."""
    source = MemorySource()
    shared = random.Random(1).randbytes(700_000)
    source.publish("app/index:1", "linux/amd64", "linux/arm64", layers=(shared, b"top"))
    source.publish("app/single:1", "linux/amd64", layers=(shared, b"single"), index=False)
    return source


@pytest.fixture(scope="module")
def small_registry(bed: Shelf, memory: MemorySource) -> Iterator[Registry]:
    with Registry.start(bed, writable=True, empty=True) as running:
        push(memory, running.address)
        yield running


@dataclass(frozen=True)
class Ends:
    """What is right, from a source without a network; and the way to the registry."""

    lock: Lock
    locked: Files
    exported: Files
    proxy: Server
    forward: Forward

    @contextmanager
    def source(self, timeouts: Timeouts = PATIENT) -> Iterator[RegistrySource]:
        """The registry behind the proxy, as a mirror of Docker Hub."""
        registries = {"docker.io": RegistrySettings(mirrors=(self.proxy.address,), upstream=False)}
        with closing(RegistrySource(registries, ANONYMOUS, timeouts=timeouts)) as source:
            yield source


@pytest.fixture(scope="module")
def ends(
    memory: MemorySource,
    small_registry: Registry,
    ca: pki.Pair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ends]:
    folder = tmp_path_factory.mktemp("right")
    lock = resolve(manifest(), memory)
    with Server() as proxy, pytest.MonkeyPatch.context() as environ:
        # One CA instead of all of the system's, which each source reads: half of the time here.
        environ.setenv("SSL_CERT_FILE", str(ca.cert))
        yield Ends(
            lock,
            locked(memory, folder / "lock"),
            exported(lock, memory, folder / "bundle"),
            proxy,
            forward_to(small_registry.address),
        )


@pytest.fixture(scope="module")
def elsewhere(ends: Ends) -> Iterator[Server]:
    """Another host by its name, before the same registry."""
    with Server(host="127.0.0.1") as running:
        running.guards["/v2/"] = ends.forward
        yield running


def locked(source: ReferringSource, folder: Path) -> Files:
    """What `lock` leaves in a folder."""
    folder.mkdir(exist_ok=True)
    write_lock(folder / "airgapbuild.lock", resolve(manifest(), source))
    return contents(folder)


def exported(lock: Lock, source: RangedSource, folder: Path) -> Files:
    """What `export` leaves in a folder."""
    export(lock, source, folder)
    return contents(folder)


def run(
    step: str, ends: Ends, schedule: Schedule, folder: Path, timeouts: Timeouts = PATIENT
) -> tuple[list[Fault], AirgapbuildError | None]:
    """Runs a step through faults: it leaves all that it should, or an error and nothing.

    After an error, export goes on without faults from what it has left.
    """
    faulty = Faulty(ends.forward, schedule)
    try:
        leave(step, ends, faulty, folder, timeouts)
    except AirgapbuildError as error:
        assert contents(folder) == {}
        if step == "export":
            leave(step, ends, ends.forward, folder)
        return faulty.struck, error
    return faulty.struck, None


def leave(step: str, ends: Ends, way: Forward, folder: Path, timeouts: Timeouts = PATIENT) -> None:
    """Runs a step, which leaves all that it should."""
    ends.proxy.guards["/v2/"] = way
    with ends.source(timeouts) as source:
        if step == "lock":
            assert locked(source, folder) == ends.locked
        else:
            assert exported(ends.lock, source, folder) == ends.exported
            assert not any(is_partial(path.name) for path in folder.iterdir())


@pytest.fixture(scope="module")
def faults(elsewhere: Server) -> dict[str, Fault]:
    every = (
        *(status(code) for code in (408, 429, 500, 502, 503, 504)),
        status(429, "1"),
        status(429, "3600"),
        status(404),
        cut(0),
        cut(100),
        cut(600_000),
        stall(10),
        wrong_byte(0),
        wrong_byte(600_000),
        wrong_length(+7),
        wrong_length(-7),
        redirect(elsewhere.url),
        no_range(),
    )
    return {fault.name: fault for fault in every}


SPENT = (RegistryError, ", tried 5 times$")
WRONG = (IntegrityError, "expected sha256:|bytes, not the ")


@pytest.mark.parametrize("step", ["lock", "export"])
@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        *(([code], None) for code in ("408", "429", "500", "502", "503", "504")),
        *(([code] * 5, SPENT) for code in ("408", "429", "500", "502", "503", "504")),
        (["429 retry-after 1"], None),
        (["429 retry-after 1"] * 5, SPENT),
        (["429 retry-after 3600"], (RegistryError, "; the next try is due in 3600 s$")),
        (["404"], (RegistryError, "not found: ")),
        (["cut at 0"], None),
        (["cut at 0"] * 5, SPENT),
        (["cut at 100"], None),
        (["cut at 600000"], None),
        (["cut at 600000", "no range"], None),
        (["cut at 600000", "no range", "redirect", "503"], None),
        (["stall at 10"], None),
        (["stall at 10"] * 5, SPENT),
        (["wrong byte 0"], WRONG),
        (["wrong byte 600000"], WRONG),
        (["503", "wrong byte 0"], WRONG),
        (["length +7"], WRONG),
        (["length +7"] * 5, (AirgapbuildError, "tried 5 times$|bytes, not the ")),
        (["length -7"], WRONG),
        (["redirect"], None),
        (["redirect"] * 5, None),
        (["no range"], None),
        (["500", "cut at 100", "redirect", "429"], None),
    ],
    ids=str,
)
def test_every_fault_ends_well_or_in_its_error(
    step: str,
    turns: list[str],
    expected: tuple[type[AirgapbuildError], str] | None,
    ends: Ends,
    faults: dict[str, Fault],
    tmp_path: Path,
) -> None:
    def in_turn(_path: str, turn: int) -> Fault | None:
        return faults[turns[turn]] if turn < len(turns) else None

    timeouts = QUICK if "stall at 10" in turns else PATIENT
    struck, error = run(step, ends, in_turn, tmp_path, timeouts)
    assert struck
    if expected is None:
        assert error is None
    else:
        kind, words = expected
        assert isinstance(error, kind)
        assert re.search(words, error.message)


PASSING = (
    *("408", "429", "500", "503", "429 retry-after 1"),
    *("cut at 0", "cut at 100", "cut at 600000", "redirect", "no range"),
)
FATAL = ("404", "429 retry-after 3600", "wrong byte 0", "length +7", "length -7")
LANES = st.lists(st.lists(st.sampled_from(PASSING), max_size=6), min_size=1, max_size=4)
"""What happens to the requests of a path, in turn; each path is in one of the lanes."""


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(lanes=LANES, end=st.sampled_from(("", "", "", *FATAL)))
def test_any_faults_end_well_or_in_an_error_that_they_explain(
    lanes: list[list[str]], end: str, ends: Ends, faults: dict[str, Fault]
) -> None:
    def scheduled(path: str, turn: int) -> Fault | None:
        lane = lanes[zlib.crc32(path.encode()) % len(lanes)]
        return faults.get([*lane, end][turn]) if turn <= len(lane) else None

    for step in ("lock", "export"):
        with tempfile.TemporaryDirectory() as folder:
            struck, error = run(step, ends, scheduled, Path(folder))
        check(error, {fault.name for fault in struck})
        if not end and max(map(len, lanes)) < PATIENT.retries.tries:
            assert error is None


def check(error: AirgapbuildError | None, struck: set[str]) -> None:
    """An error has its reason, and what must not go well has not."""
    match error:
        case None:
            assert not struck & {"404", "429 retry-after 3600", "wrong byte 0"}
        case IntegrityError():
            assert struck & {"wrong byte 0", "length +7", "length -7"}
        case RegistryError(status=404):
            assert "404" in struck
        case _ if "due in 3600 s" in error.message:
            assert "429 retry-after 3600" in struck
        case _:
            # New bytes give all tries anew; where another request has spent them, one is left.
            for line in error.lines:
                tried = re.search(r", tried (\d+) times$", line)
                assert int(tried[1]) >= 5 if tried else "tried" not in line
            assert struck & set(PASSING)


@pytest.fixture
def project(ends: Ends, tmp_path: Path) -> Path:
    """A folder with a manifest."""
    (tmp_path / "airgapbuild.toml").write_text(TEXT.format(mirror=ends.proxy.address))
    return tmp_path


def left_by(step: str, project: Path) -> Files:
    """What a command has left, the lock or the bundle."""
    if step == "export":
        return contents(project / "bundles/small")
    return contents(project, "*.lock*")


@pytest.mark.parametrize("step", ["lock", "export"])
@pytest.mark.parametrize(
    ("name", "code"), [("cut at 100", 0), ("429 retry-after 3600", 5), ("wrong byte 0", 6)]
)
def test_the_command_exits_with_the_errors_code(
    step: str, name: str, code: int, ends: Ends, faults: dict[str, Fault], project: Path
) -> None:
    if step == "export":
        write_lock(project / "airgapbuild.lock", ends.lock)
    faulty = Faulty(ends.forward, lambda _, turn: None if turn else faults[name])
    ends.proxy.guards["/v2/"] = faulty
    done = airgapbuild(step, cwd=project)
    assert done.returncode == code, done.stderr
    right = ends.locked if step == "lock" else ends.exported
    assert left_by(step, project) == ({} if code else right)
    if code == 5:
        assert "(injected); the next try is due in 3600 s" in done.stderr
        assert "hint: docker login" in done.stderr


@pytest.mark.parametrize("step", ["lock", "export"])
def test_nobody_waits_after_ctrl_c(step: str, ends: Ends, project: Path) -> None:
    if step == "export":
        write_lock(project / "airgapbuild.lock", ends.lock)
    ends.proxy.guards["/v2/"] = Faulty(ends.forward, lambda _path, _turn: status(503, "100"))
    with subprocess.Popen(
        [*HEARS_SIGNALS, PROGRAM, step, "--verbose"],
        cwd=project,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        said = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert "status 503" in said
    assert "try 2 of 5" in said
    assert said.endswith(" in 100.0 s\n")
    assert left_by(step, project) == {}
