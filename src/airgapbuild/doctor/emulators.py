"""Whether steps of other platforms run: by the kernel's emulators, or by the builder's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airgapbuild.doctor.finding import Finding, ok, warning
from airgapbuild.doctor.holdings import platforms_in
from airgapbuild.doctor.nodes import nodes_of
from airgapbuild.emulators import BINFMT
from airgapbuild.engine.daemon import Daemon
from airgapbuild.oci.platform import parse_platform
from airgapbuild.oci.reference import parse_reference
from airgapbuild.suggestion import manifest_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.doctor.site import Site
    from airgapbuild.oci.platform import Platform

# Source: moby/buildkit solver/llbsolver/ops/exec_binfmt.go, `qemuArchMap`.
_QEMU: Final = {
    "arm64": "aarch64",
    "amd64": "x86_64",
    "arm": "arm",
    "386": "i386",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


def check_emulators(site: Site) -> Iterator[Finding]:
    """Whether RUN works for each platform that images were brought for."""
    foreign = sorted(_foreign(site))
    if not foreign or site.answer is None:
        return
    native = {(it.os, it.architecture) for it in map(parse_platform, site.answer.platforms)}
    for platform in foreign:
        if (platform.os, platform.architecture) in native:
            yield ok(f"steps for {platform} run: the kernel has an emulator")
        elif _has_own(site, platform):
            yield ok(
                f"steps for {platform} run: the builder's image has an emulator, for builds alone"
            )
        else:
            yield warning(
                f"steps for {platform} do not run: neither the kernel nor the builder's image has "
                "an emulator",
                "RUN fails with `exec format error`; COPY and cross-compiling go well",
                mend_of(site),
            )


def mend_of(site: Site) -> str:
    """What registers emulators: the image for it, where it is locked, or the lines that lock it."""
    run = f"{site.load} --binfmt"
    if site.lock and any(image.role == "binfmt" for image in site.lock.image):
        return run
    return f"{manifest_lines(parse_reference(BINFMT), 'binfmt')}# and here, once loaded: {run}"


def _foreign(site: Site) -> set[Platform]:
    """The platforms of the images that builds begin from, but for the daemon's own."""
    if site.lock:
        images = [image for image in site.lock.image if image.for_layout]
        found = {locked.platform for image in images for locked in image.platform}
    else:
        digests = site.layout.images().values()
        found = {platform for digest in digests for platform in platforms_in(site.layout, digest)}
    own = site.platform
    return {it for it in found if own and (it.os, it.architecture) != (own.os, own.architecture)}


def _has_own(site: Site, platform: Platform) -> bool:
    """Whether the builder's image has BuildKit's own emulator for a platform."""
    stored = site.store.read(site.builder) if site.builder else None
    qemu = _QEMU.get(platform.architecture)
    if stored is None or qemu is None or not isinstance(site.daemon, Daemon):
        return False
    path = f"/usr/bin/buildkit-qemu-{qemu}"
    daemon = site.daemon
    return all(daemon.container_has(node.container, path) for node in nodes_of(stored))
