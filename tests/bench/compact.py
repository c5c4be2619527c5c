"""The size and the cost of compact bundles: `python -m tests.bench.compact [LEVEL]...`.

Of the bed's BuildKit image, beside what people do by hand: zstd over a tarball, and over what
`skopeo copy` makes of it with its layers raw. Level 19 takes minutes, so CI does not run it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.engines.bed import Bed
from tests.engines.registry import Registry
from tests.support.program import airgapbuild

_MANIFEST = """\
version = 1
name = "exact"
platforms = ["linux/amd64"]
[images.buildkit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
[registries."docker.io"]
mirrors = ["{registry}"]
upstream = false
"""
_LEVELS = ("9", "19")


def told(what: str, path: Path, whole: int, began: float) -> None:
    """A line: size, ratio to the exact one, and the CPU seconds since `began`."""
    size = path.stat().st_size
    print(f"{what:32} {size:>11} {size / whole:.3f} {_cpu() - began:>7.1f} s", flush=True)


def main() -> None:
    """Exports, compresses, and prints the sizes."""
    levels = sys.argv[1:] or _LEVELS
    with tempfile.TemporaryDirectory(prefix="compact-") as scratch:
        folder = Path(scratch)
        with Registry.start(Bed.find()) as registry:
            text = _MANIFEST.format(registry=registry.address)
            (folder / "airgapbuild.toml").write_text(text)
            _export(folder, "lock")
            began = _cpu()
            exact = _export(folder, "export", "-o", "exact")
            whole = exact.stat().st_size
            told("exact", exact, whole, began)
            for level in levels:
                began = _cpu()
                made = _export(folder, "export", "--compact", "--level", level, "-o", level)
                told(f"compact, level {level}", made, whole, began)
            raw = folder / "raw.tar"
            image = f"docker://{registry.address}/moby/buildkit:v0.34.2"
            skopeo = ("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false")
            _run(*skopeo, image, f"docker-archive:{raw}")
        for level in levels:
            for what, path in (("the exact tarball", exact), ("a docker-archive", raw)):
                began = _cpu()
                out = folder / "out.zst"
                _run("zstd", "--force", "--quiet", f"-{level}", "--long=27", path, "-o", out)
                told(f"zstd -{level} --long of {what}", out, whole, began)


def _export(folder: Path, *words: str) -> Path:
    done = airgapbuild(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return next((folder / words[-1]).glob("*.tar.zst"), folder)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def _cpu() -> float:
    """The CPU seconds of all that was started here and has ended."""
    used = os.times()
    return used.children_user + used.children_system


if __name__ == "__main__":
    main()
