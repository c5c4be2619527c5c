"""Fuzzes every target, or those that are named: `python -m tests.fuzz [INPUTS] [NAME…]`.

A million inputs in all unless said otherwise. Each target is a process of its own, which ends at an
exception that its reader must not raise, at an input that takes ten seconds, and at 300 MB.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.all_targets import all_targets
from tests.fuzz.target import Target

_MEMORY = Path("/dev/shm")
_RSS_MB = 300
_SECONDS = 10
_SEEN = re.compile(r"cov: (\d+) ft: \d+ corp: (\d+)")
_PEAK = re.compile(r"peak_rss_mb:\s+(\d+)")
_DONE = re.compile(r"number_of_executed_units:\s+(\d+)")


def main(arguments: list[str]) -> int:
    targets = all_targets()
    total = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 1_000_000
    chosen = [targets[name] for name in arguments] or [*targets.values()]
    shares = sum(target.inputs for target in chosen)
    print(f"{'TARGET':12} {'INPUTS':>8} {'SECONDS':>8} {'PEAK MB':>8} {'EDGES':>6} {'CORPUS':>7}")
    failed = [it.name for it in chosen if not _fuzz(it, -(-total * it.inputs // shares))]
    print("failed: " + ", ".join(failed) if failed else "no reader failed")
    return bool(failed)


def _fuzz(target: Target, inputs: int) -> bool:
    """Whether the target stood so many inputs."""
    memory = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="airgapbuild-fuzz-", dir=memory) as scratch:
        corpus, words = Path(scratch, "corpus"), Path(scratch, "words")
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        entries = [f'"{_escaped(word)}"\n' for word in target.words or (b"\0",)]
        words.write_text("".join(entries))
        limits = (f"-runs={inputs}", f"-timeout={_SECONDS}", f"-rss_limit_mb={_RSS_MB}")
        options = (
            f"-dict={words}",
            "-max_len=16384",
            "-print_final_stats=1",
            "-seed=1",
            f"-artifact_prefix={scratch}/",
        )
        argv = (sys.executable, "-m", "tests.fuzz.one", target.name, *limits, *options, corpus)
        begin = time.monotonic()
        env = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(argv, capture_output=True, check=False, env=env)
        said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
        seconds = time.monotonic() - begin
    edges, kept = (_SEEN.findall(said) or [("?", "?")])[-1]
    figures = [(found.findall(said) or ["?"])[-1] for found in (_DONE, _PEAK)]
    print(f"{target.name:12} {figures[0]:>8} {seconds:8.0f} {figures[1]:>8} {edges:>6} {kept:>7}")
    if done.returncode:
        print(said[-4000:])
    sys.stdout.flush()
    return done.returncode == 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
