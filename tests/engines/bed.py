"""Set up the test bed: real engines, builders, registries and images, in a cache folder.

    python3 tests/engines/bed.py [PART ...]      make what is missing (all parts by default)
    python3 tests/engines/bed.py --where PART    print the part's folder
    python3 tests/engines/bed.py --list          print all parts
    python3 tests/engines/bed.py --prune         remove what older recipes made

A name like `engines` stands for all parts below it (`engines/28.5` and so on).
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.engines.parts import (
    browser,
    connected,
    distribution,
    engines,
    extras,
    images,
    nginx,
    programs,
    pythons,
    referrers,
    shells,
    ssh,
    workflows,
)
from tests.engines.parts.part import RecipeError, key, kill_running, run
from tests.engines.process import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

PARTS = {
    part.name: part
    for recipes in (
        *(engines, programs, referrers, distribution, images, extras),
        *(pythons, connected, ssh, browser, shells, workflows, nginx),
    )
    for part in recipes.PARTS
}

KEYS = {name: key(part, PARTS) for name, part in PARTS.items()}
"""Taken once, so that an edit during a long run cannot change where its parts belong."""

LANES = {"go": 1, "net": 2, "ahead": 1}
"""How many parts are made at once, by what they mostly wait for."""


class BedError(Exception):
    """A part is not there; the message says how to get it and what stood in the way."""


FAILURES = (
    *(RecipeError, BedError, NotReadyError),
    *(OSError, subprocess.SubprocessError, AssertionError),
)
"""What one part may fail with, without an end to the others."""


@dataclass(frozen=True)
class Bed:
    """The cache folder, and where each part stands in it."""

    root: Path

    @classmethod
    def find(cls) -> Bed:
        """Return the bed of this user, whether anything is in it or not."""
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(Path(os.environ.get("AIRGAPBUILD_BED") or caches / "airgapbuild/bed").absolute())

    def folder(self, name: str) -> Path:
        """Return where the part belongs, whether it is there or not."""
        return self.root / f"{name}-{KEYS[name]}"

    def has(self, name: str) -> bool:
        """Say whether the part is there, with the host's programs that it takes for granted."""
        return self.folder(name).is_dir() and not PARTS[name].missing_tools()

    def part(self, name: str) -> Path:
        """Return the folder of a part, or raise `BedError`."""
        if self.has(name):
            return self.folder(name)
        note = self.note(name)
        why = f" (last time: {note.read_text().strip()})" if note.exists() else ""
        raise BedError(f"no {name} in the test bed: run python3 tests/engines/bed.py {name}{why}")

    def note(self, name: str) -> Path:
        """Return the file that says why a part could not be made."""
        return self.root / "failed" / name.replace("/", "-")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out; what a killed one left half made is removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(self.root / "making", ignore_errors=True)
            yield

    def make(self, name: str) -> None:
        """Make a part in a folder of its own, and rename it when it is whole."""
        made = self.root / "making" / name
        made.mkdir(parents=True)
        PARTS[name].build(self, made)
        target = self.folder(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
        self.note(name).unlink(missing_ok=True)


def wanted(names: Sequence[str]) -> list[str]:
    """Return the parts that these names stand for, and the parts that those need."""
    chosen: list[str] = []
    for name in names or list(PARTS):
        found = [part for part in PARTS if part == name or part.startswith(f"{name}/")]
        if not found:
            raise BedError(f"no part is called {name}; --list names them all")
        for part in found:
            chosen += [*wanted(PARTS[part].needs), part] if PARTS[part].needs else [part]
    return list(dict.fromkeys(chosen))


def install_tools(bed: Bed, names: Sequence[str]) -> None:
    """Install the small programs that the host must have itself."""
    packages = {package for name in names for package in PARTS[name].missing_tools()}
    if not packages or not shutil.which("apt-get"):
        return
    start = time.monotonic()
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "-q", "update"])
        options = ("-qy", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120")
        run(["apt-get", *options, "install", *sorted(packages)], env=quiet)
    except RecipeError as error:
        say(f"apt-get install: {error}", start)
    else:
        say(f"installed {' '.join(sorted(packages))}", start)


def say(words: str, start: float) -> None:
    """Print one line with the time that it took."""
    print(f"{words}  {time.monotonic() - start:.1f} s", flush=True)


def make_one(bed: Bed, name: str) -> None:
    """Make one part and say so."""
    start = time.monotonic()
    missing = PARTS[name].missing_tools()
    if missing:
        raise RecipeError(f"the host lacks {', '.join(missing)}")
    bed.make(name)
    say(name, start)


@contextmanager
def lanes(names: Sequence[str]) -> Iterator[dict[str, ThreadPoolExecutor]]:
    """Open the lanes that parts are made in, and one for downloads ahead of the compiles."""
    opened = {lane: ThreadPoolExecutor(workers) for lane, workers in LANES.items()}
    try:
        for task in (PARTS[name].ahead for name in names):
            if task:
                opened["ahead"].submit(task)
        yield opened
    except BaseException:
        kill_running()
        raise
    finally:
        for lane in opened.values():
            lane.shutdown(cancel_futures=True)


def startable(bed: Bed, waiting: list[str], failed: dict[str, str]) -> list[str]:
    """Take from `waiting` what can start, and what never can, which is noted as failed."""
    found = []
    for name in list(waiting):
        needs = PARTS[name].needs
        lost = [need for need in needs if need in failed]
        if lost:
            failed[name] = f"needs {', '.join(lost)}"
        elif all(bed.has(need) for need in needs):
            found.append(name)
        else:
            continue
        waiting.remove(name)
    return found


def make_all(bed: Bed, names: Sequence[str]) -> dict[str, str]:
    """Make these parts, those first that others need; return why some could not be made."""
    waiting, running, failed = list(names), dict[Future[None], str](), dict[str, str]()
    with lanes(names) as opened:
        while waiting or running:
            for name in startable(bed, waiting, failed):
                running[opened[PARTS[name].lane].submit(make_one, bed, name)] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                try:
                    future.result()
                except FAILURES as error:
                    failed[name] = str(error)
    return failed


def build(bed: Bed, names: Sequence[str], *, strict: bool) -> int:
    """Make what is missing of these parts; return the exit code."""
    start = time.monotonic()
    chosen = wanted(names)
    if all(bed.has(name) for name in chosen):
        say(f"the test bed is complete: {bed.root}", start)
        return 0
    with bed.locked():
        absent = [name for name in chosen if not bed.has(name)]
        install_tools(bed, absent)
        failed = make_all(bed, [name for name in absent if not bed.has(name)])
        for name, why in failed.items():
            bed.note(name).parent.mkdir(exist_ok=True)
            bed.note(name).write_text(why)
            print(f"NO {name}: {why}", flush=True)
    say(f"{len(chosen) - len(failed)} of {len(chosen)} parts in {bed.root}", start)
    return int(bool(failed) and (strict or bool(names)))


def prune(bed: Bed) -> None:
    """Remove the folders of parts whose recipe has changed since."""
    with bed.locked():
        for name in PARTS:
            folder = bed.folder(name)
            for old in set(folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*")) - {folder}:
                shutil.rmtree(old)
                print(f"removed {old}")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--where", metavar="PART", help="print the folder of a part that is there")
    parser.add_argument("--list", action="store_true", help="print the names of all parts")
    parser.add_argument("--require-all", action="store_true", help="fail when any part fails")
    parser.add_argument("--prune", action="store_true", help="remove what older recipes made")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    bed = Bed.find()
    try:
        if options.list:
            print("\n".join(PARTS))
            return 0
        if options.prune:
            prune(bed)
            return 0
        if options.where:
            names = [n for n in PARTS if n == options.where or n.startswith(f"{options.where}/")]
            print("\n".join(str(bed.part(name)) for name in names or wanted([options.where])))
            return 0
        return build(bed, options.parts, strict=options.require_all)
    except BedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
