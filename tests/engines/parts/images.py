"""The images that a registry of the bed serves, as an OCI layout and as the registry's storage.

They are built on the bed's own engine. Where `AIRGAPBUILD_BED_REGISTRY` names a registry that
mirrors the real ones, they come from there.
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
from tests.engines.parts import debian, golang
from tests.engines.parts.debian import Suite, root_folder, unpack
from tests.engines.parts.part import Part, Shelf, run
from tests.engines.parts.programs import ARCHITECTURES

_SUITE = "trixie"
BUILDKIT = golang.version("buildkit", "github.com/moby/buildkit")
BUSYBOX = "1.37.0"

TAGS = {
    f"moby/buildkit:{BUILDKIT}": ("buildx-stable-1",),
    "docker/dockerfile:1.19": ("1",),
    f"library/busybox:{BUSYBOX}": ("latest",),
}
"""Every image, with the other tags that point at the same index."""

# What the real builder image has in it, and so about as large.
_BUILDKIT_ROOT = (
    *("bash", "coreutils", "ca-certificates", "git", "openssh-client", "fuse3", "iptables"),
    *("pigz", "xz-utils", "runc"),
)
_DOCKERFILES = {
    "moby/buildkit": """\
FROM scratch
ARG TARGETARCH
ADD root-$TARGETARCH.tar /
COPY $TARGETARCH/buildkitd $TARGETARCH/buildctl /usr/bin/
VOLUME /var/lib/buildkit
ENTRYPOINT ["buildkitd"]
""",
    "docker/dockerfile": """\
FROM scratch
ARG TARGETARCH
LABEL moby.buildkit.frontend.network.none="true"
LABEL moby.buildkit.frontend.caps="moby.buildkit.frontend.inputs,\
moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts"
COPY $TARGETARCH/dockerfile-frontend /bin/dockerfile-frontend
ENTRYPOINT ["/bin/dockerfile-frontend"]
""",
    "library/busybox": """\
FROM scratch
ARG TARGETARCH
ADD busybox-$TARGETARCH.tar /
CMD ["sh"]
""",
}


def _roots(bed: Shelf, into: Path) -> None:
    """Make what the images are built from: root folders of both architectures, as tar files."""
    for arch in ARCHITECTURES:
        suite, scratch = Suite(bed.root, _SUITE, arch), into / "scratch"
        root_folder(suite, scratch / "root", scratch, *_BUILDKIT_ROOT)
        _tar(scratch / "root", into / f"root-{arch}.tar")
        unpack(suite.fetch(scratch / "busybox-debs", "busybox-static"), scratch / "unpacked")
        binaries = scratch / "busybox/bin"
        binaries.mkdir(parents=True)
        shutil.copy(scratch / "unpacked/usr/bin/busybox", binaries)
        for applet in ("sh", "cat", "echo", "ls", "true", "false", "sleep", "uname", "wget"):
            (binaries / applet).symlink_to("busybox")
        _tar(scratch / "busybox", into / f"busybox-{arch}.tar")
        shutil.rmtree(scratch)


def _tar(folder: Path, target: Path) -> None:
    run(["tar", "--sort=name", "--numeric-owner", "-C", folder, "-cf", target, "."])


def _images(bed: Shelf, into: Path) -> None:
    """Build or copy every image, then lay it out in both forms."""
    scratch = into / "scratch"
    mirror = os.environ.get("AIRGAPBUILD_BED_REGISTRY")
    layouts = _copied(mirror, scratch) if mirror else _built(bed, scratch)
    layout.join(layouts, into / "layout")
    shutil.rmtree(scratch)
    made = {}
    for entry in json.loads((into / "layout/index.json").read_bytes())["manifests"]:
        name = entry["annotations"][layout.IMAGE_NAME].removeprefix("docker.io/")
        repository, _, first = name.rpartition(":")
        for tag in (first, *TAGS[name]):
            image = layout.describe(into / "layout", repository, tag, entry["digest"])
            layout.store(into / "layout", image, into / "storage")
            made[image.ref] = asdict(image)
    (into / "images.json").write_text(json.dumps(made, indent=2))


def _copied(mirror: str, scratch: Path) -> dict[str, Path]:
    for name in TAGS:
        target = scratch / name.partition(":")[0]
        target.mkdir(parents=True)
        flags = ("--all", "--preserve-digests")
        run(["skopeo", "copy", *flags, f"docker://{mirror}/{name}", f"oci:{target}"])
    return {name: scratch / name.partition(":")[0] for name in TAGS}


def _built(bed: Shelf, scratch: Path) -> dict[str, Path]:
    context = scratch / "context"
    shutil.copytree(bed.part("images/roots"), context, copy_function=os.link)
    for arch in ARCHITECTURES:
        shutil.copytree(bed.part(f"buildkit/{arch}"), context / arch, copy_function=os.link)
    config = docker_config(bed, scratch / "config", "0.29")
    layouts = {name: scratch / name.partition(":")[0] for name in TAGS}
    platforms = ",".join(f"linux/{arch}" for arch in ARCHITECTURES)
    with Namespace() as closed, Daemon.start(bed, "28.5", "containerd", closed) as daemon:
        for name, target in layouts.items():
            file = scratch / "Dockerfile"
            file.write_text(_DOCKERFILES[name.partition(":")[0]])
            output = f"type=oci,dest={target},tar=false"
            options = ("-f", file, "--platform", platforms, "--output", output)
            daemon.docker("buildx", "build", *options, context, config=config)
    return layouts


_HERE = Path(__file__)
_RECIPE = (_HERE, debian.HERE)

PARTS = (
    Part("images/roots", _roots, recipe=_RECIPE),
    Part(
        "images/built",
        _images,
        recipe=(*_RECIPE, Path(layout.__file__)),
        needs=(
            "images/roots",
            "engines/28.5",
            "buildx/0.29",
            *(f"buildkit/{arch}" for arch in ARCHITECTURES),
        ),
    ),
)
