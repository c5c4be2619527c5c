"""The size of a rebuilt BuildKit's differential: `python -m tests.bench.differential [VERSION]`.

The old image is the bed's. The new one has the same base layer, and buildkitd and buildctl built
again: with another version in them, or from the sources of VERSION, such as v0.34.1. That takes Go,
and minutes where its cache is cold, so CI does not run it.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from airgapbuild.oci.digest import digest_of
from tests.engines import layout
from tests.engines.bed import Bed
from tests.engines.parts import golang
from tests.engines.registry import images
from tests.support.program import airgapbuild

_IMAGE = "moby/buildkit:v0.34.2"
_MODULE = "github.com/moby/buildkit"
_MANIFEST = """\
version = 1
name = "{name}"
platforms = ["linux/amd64"]
[images.buildkit]
ref = "oci-layout:{folder}"
role = "builder"
tags = ["moby/buildkit:buildx-stable-1"]
[bundle]
attestations = false
layers = "compact"
"""


def build(version: str | None, into: Path) -> Path:
    """The two programs, built anew."""
    module = into / "module"
    shutil.copytree(golang.TOOLS / "buildkit", module)
    if version:
        subprocess.run(["go", "get", f"{_MODULE}@{version}"], cwd=module, check=True)
    stamp = f"{_MODULE}/version.Version={version or 'v0.34.2-rebuilt'}"
    packages = [f"{_MODULE}/cmd/{program}" for program in ("buildkitd", "buildctl")]
    flags = f"-s -w -X {stamp}"
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", f"{into}/bin/", *packages],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64"},
        check=True,
    )
    return into / "bin"


def project(folder: Path, name: str, bed: Path, binaries: Path | None) -> None:
    """A project with the bed's image in a layout; its highest layer has these binaries."""
    image = images(Bed.find())[_IMAGE]
    target = folder / name
    manifest = layout.read(bed, image.platforms["linux/amd64"].manifest)
    config = layout.read(bed, manifest["config"]["digest"])
    if binaries:
        *_, highest = manifest["layers"]
        raw = _rebuilt(gzip.decompress(layout.blob(bed, highest["digest"]).read_bytes()), binaries)
        config["rootfs"]["diff_ids"][-1] = digest_of(raw)
        highest |= _put(target, gzip.compress(raw, mtime=0))
        manifest["config"] |= _put(target, json.dumps(config).encode())
    for part in (manifest["config"], *manifest["layers"]):
        path = layout.blob(target, part["digest"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            shutil.copy(layout.blob(bed, part["digest"]), path)
    entry = {"mediaType": manifest["mediaType"], **_put(target, json.dumps(manifest).encode())}
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    text = _MANIFEST.format(name=name, folder=name)
    (folder / f"{name}.toml").write_text(text)
    _run(folder, "lock", "-f", f"{name}.toml")


def size(folder: Path, bundle: str) -> int:
    """Of a bundle's tarball, in bytes."""
    (tarball,) = (folder / "bundles" / bundle).glob("*.tar.zst")
    return tarball.stat().st_size


def main() -> None:
    """Builds, exports, and prints the sizes."""
    version = sys.argv[1] if sys.argv[1:] else None
    bed = Bed.find().part("images/built") / "layout"
    with tempfile.TemporaryDirectory(prefix="differential-") as scratch:
        folder = Path(scratch)
        project(folder, "old", bed, None)
        project(folder, "new", bed, build(version, folder / "build"))
        _run(folder, "export", "-f", "old.toml")
        _run(folder, "export", "-f", "new.toml")
        _run(folder, "export", "-f", "new.toml", "--against", "bundles/old")
        whole, part = size(folder, "new"), size(folder, "new-differential")
        print(f"against {_IMAGE}: built again as {version or 'itself, with another version in it'}")
        print(f"compact {whole} bytes, differential {part} bytes: {part / whole:.3f}")


def _rebuilt(raw: bytes, binaries: Path) -> bytes:
    """A layer's tar with other binaries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(raw)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            replacement = binaries / Path(member.name).name
            file = old.extractfile(member) if member.isreg() else None
            if file and replacement.is_file():
                member.size = replacement.stat().st_size
                file = replacement.open("rb")
            new.addfile(member, file)
    return out.getvalue()


def _put(target: Path, content: bytes) -> dict[str, Any]:
    digest = digest_of(content)
    path = layout.blob(target, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"digest": digest, "size": len(content)}


def _run(folder: Path, *arguments: str) -> None:
    done = airgapbuild(*arguments, cwd=folder)
    if done.returncode:
        sys.exit(done.stderr)
    print(done.stdout, end="")


if __name__ == "__main__":
    main()
