"""The images of a whole site: what is built, and more that is made of it in seconds.

They are a part of their own: a change here leaves the digests of `images/built` as they are.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from tests.engines import layout
from tests.engines.daemon import Daemon, docker_config
from tests.engines.netns import Namespace
from tests.engines.parts import debian, images
from tests.engines.parts.debian import Suite
from tests.engines.parts.part import Part, Shelf, run
from tests.engines.parts.programs import ARCHITECTURES

_SUITE = "trixie"
_STAND_INS = Path(__file__).parents[1] / "stand_ins"
_BUILDER = f"moby/buildkit:{images.BUILDKIT}"
_BUSYBOX = f"library/busybox:{images.BUSYBOX}"

# The real builder image has its emulators; that of `images/built` keeps its bytes.
_DOCKERFILES = {
    f"{_BUILDER}-qemu": """\
FROM builder AS arm64
FROM builder AS amd64
COPY qemu-aarch64 /usr/bin/buildkit-qemu-aarch64
FROM $TARGETARCH
""",
    "tonistiigi/binfmt:latest": """\
FROM busybox AS arm64
FROM busybox AS amd64
COPY qemu-aarch64 /usr/bin/
FROM $TARGETARCH
COPY binfmt /usr/bin/
ENTRYPOINT ["/usr/bin/binfmt"]
""",
    "docker/buildkit-syft-scanner:stable-1": """\
FROM busybox
COPY scanner /bin/
ENTRYPOINT ["/bin/scanner"]
""",
    "library/bash:5.2": """\
FROM scratch
ARG TARGETARCH
COPY $TARGETARCH/ /
CMD ["bash"]
""",
}


def _programs(bed: Shelf, into: Path) -> None:
    """Take an emulator for this machine, and a static bash for each."""
    emulator = Suite(bed.root, _SUITE)
    [deb] = emulator.fetch(into / "debs", "qemu-user")
    alone = 'dpkg --fsys-tarfile "$0" | tar -xC "$1" --strip-components=3 ./usr/bin/qemu-aarch64'
    run(["sh", "-c", alone, deb, into])
    for arch in ARCHITECTURES:
        scratch = into / "debs" / arch
        debian.unpack(Suite(bed.root, _SUITE, arch).fetch(scratch, "bash-static"), scratch)
        programs = into / arch / "bin"
        programs.mkdir(parents=True)
        (scratch / "usr/bin/bash-static").rename(programs / "bash")
        (programs / "sh").symlink_to("bash")
    shutil.rmtree(into / "debs")


def _all(bed: Shelf, into: Path) -> None:
    """Build them on what is built, and lay out all images in both forms."""
    built, scratch = bed.part("images/built"), into / "scratch"
    known = json.loads((built / "images.json").read_bytes())
    indexes = {ref: entry["index"] for ref, entry in known.items()}
    shutil.copytree(built / "layout/blobs", into / "layout/blobs", copy_function=os.link)
    bases = {
        name: f"oci-layout://{built / 'layout'}@{indexes[ref]}"
        for name, ref in {"builder": _BUILDER, "busybox": _BUSYBOX}.items()
    }
    layout.join(_built(bed, scratch, bases), into / "layout")
    shutil.rmtree(scratch)
    for entry in json.loads((into / "layout/index.json").read_bytes())["manifests"]:
        name = entry["annotations"][layout.IMAGE_NAME].removeprefix("docker.io/")
        indexes[name] = entry["digest"]
    made = {}
    for ref, index in indexes.items():
        repository, _, tag = ref.rpartition(":")
        image = layout.describe(into / "layout", repository, tag, index)
        layout.store(into / "layout", image, into / "storage")
        made[ref] = asdict(image)
    (into / "images.json").write_text(json.dumps(made, indent=2))


def _built(bed: Shelf, scratch: Path, bases: dict[str, str]) -> dict[str, Path]:
    context = scratch / "context"
    shutil.copytree(bed.part("images/programs"), context, symlinks=True)
    for stand_in in _STAND_INS.iterdir():
        shutil.copy(stand_in, context)
    config = docker_config(bed, scratch / "config", "0.29")
    layouts = {name: scratch / name.replace(":", "/") for name in _DOCKERFILES}
    platforms = ",".join(f"linux/{arch}" for arch in ARCHITECTURES)
    shared = [f"--platform={platforms}", *(f"--build-context={n}={at}" for n, at in bases.items())]
    with Namespace() as closed, Daemon.start(bed, "28.5", "containerd", closed) as daemon:
        for name, target in layouts.items():
            file = scratch / "Dockerfile"
            file.write_text(_DOCKERFILES[name])
            output = f"--output=type=oci,dest={target},tar=false"
            daemon.docker("buildx", "build", *shared, output, "-f", file, context, config=config)
    return layouts


_HERE = Path(__file__)
_RECIPE = (_HERE, debian.HERE)

PARTS = (
    Part("images/programs", _programs, recipe=_RECIPE),
    Part(
        "images/all",
        _all,
        recipe=(*_RECIPE, Path(layout.__file__), *sorted(_STAND_INS.iterdir())),
        needs=("images/built", "images/programs", "engines/28.5", "buildx/0.29"),
    ),
)
