"""A bundle for the report: all kinds of images, and in each free text what would break a page."""

from __future__ import annotations

import random
from pathlib import Path

from airgapbuild.bundle.packaging import Packaging
from airgapbuild.export import export
from airgapbuild.manifest import parse_manifest
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=http://127.0.0.1:1/ onerror=alert(1)>",
    "\"'></code></table><style>*{display:none}</style>",
    "</title><meta http-equiv=refresh content=0;url=http://127.0.0.1:1/>",
    "\u202etxt.exe\u2066",
    "x" * 2000,
)
TEXT = """
version = 1
name = "builders"
platforms = ["linux/amd64", "linux/arm64"]
[images.buildkit]
ref = "moby/buildkit:{kit}"
role = "builder"
tags = ["moby/buildkit:buildx-stable-1"]
[images.binfmt]
ref = "tonistiigi/binfmt:qemu-v10.2.3"
role = "binfmt"
platforms = ["linux/amd64"]
[images.dockerfile]
ref = "docker/dockerfile:1.19"
role = "frontend"
tags = ["docker/dockerfile:1"]
[images.python]
ref = "python:3.13-slim"
role = "base"
platforms = ["linux/amd64"]
[images.shell]
ref = "registry.corp.example:5000/tools/shell:2"
role = "tool"
platforms = ["linux/amd64"]
[builder]
name = "airgap"
image = "buildkit"
sealed = true
[builder.driver-opts]
network = "host"
{options}
[buildkitd.worker.oci]
max-parallelism = 4
"""


def make_showcase(folder: Path) -> tuple[Path, Path]:
    """An earlier bundle, and one with a newer builder and hostile text wherever it is free."""
    source = _source()
    plain = TEXT.format(kit="v0.34.1", options="")
    hostile = TEXT.format(
        kit="v0.34.2",
        options="\n".join(f'"env.{n}" = {_quoted(text)}' for n, text in enumerate(HOSTILE)),
    )
    return _export(source, plain, folder / "old", 41), _export(source, hostile, folder / "new", 42)


def _source() -> MemorySource:
    source, some = MemorySource(), random.Random(7).randbytes
    shared = some(310_000)
    for kit in ("v0.34.1", "v0.34.2"):
        layers = (shared, some(60_000), some(450_000))
        top = source.publish(f"moby/buildkit:{kit}", "linux/amd64", "linux/arm64", layers=layers)
    for text in HOSTILE:
        source.attach("moby/buildkit:v0.34.2", top.descriptor.digest, text.encode(), kind=text)
    one = ("linux/amd64",)
    source.publish("tonistiigi/binfmt:qemu-v10.2.3", *one, layers=(some(240_000),))
    source.publish("docker/dockerfile:1.19", *one, "linux/arm64", layers=(some(90_000),))
    source.publish("python:3.13-slim", *one, layers=(shared, some(80_000), some(120_000)))
    source.publish("registry.corp.example:5000/tools/shell:2", *one, layers=(some(30_000),))
    return source


def _quoted(text: str) -> str:
    """The text as a string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _export(source: MemorySource, text: str, folder: Path, serial: int) -> Path:
    lock = resolve(parse_manifest(text.encode(), "m", folder=Path()), source)
    export(lock, source, folder, packaging=Packaging(serial=serial))
    return folder
