"""What was to be loaded: the bundle's own files, the daemon's images, the layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.builder.contexts import check_folder
from airgapbuild.doctor.finding import Finding, ok, problem, told, warning
from airgapbuild.engine.daemon import Daemon
from airgapbuild.errors import AirgapbuildError, IntegrityError, UsageError
from airgapbuild.oci.presence import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.doctor.site import Site
    from airgapbuild.lockfile import LockedImage
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.platform import Platform


def check_given(site: Site) -> Iterator[Finding]:
    """Whether the bundle or lock that was given can be read, and what it has for this daemon."""
    if isinstance(site.given, AirgapbuildError):
        yield told(site.given, "what ought to be here is not known")
    bundle = site.bundle
    if bundle is None:
        return
    lacking = [
        f"{image.name} {locked.platform}"
        for image in bundle.lock.image
        for locked in image.platform
        if not bundle.has(image, locked) and (image.for_layout or locked.platform == site.platform)
    ]
    if lacking:
        yield warning(
            f"{bundle.folder}: has no tarball of {', '.join(lacking)}",
            "what is not here cannot be loaded",
            "bring these files over, too: airgapbuild verify names them",
        )
    else:
        yield ok(f"{bundle.folder}: has every tarball that is wanted here")


def check_images(site: Site) -> Iterator[Finding]:
    """Whether the daemon holds what the lock names."""
    daemon = site.daemon
    if site.lock is None or not isinstance(daemon, Daemon):
        return
    images = [image for image in site.lock.image if image.for_daemon]
    lacking = [finding for image in images for finding in _lacks(site, daemon, image)]
    yield from lacking
    if images and not lacking:
        yield ok(f"the daemon holds {', '.join(image.name for image in images)}")


def _lacks(site: Site, daemon: Daemon, image: LockedImage) -> Iterator[Finding]:
    locked = image.on(daemon.platform)
    if locked is None:
        platforms = ", ".join(f'"{it}"' for it in sorted({daemon.platform, *_platforms(image)}))
        yield problem(
            f"{image.name} is not locked for {daemon.platform}, which the daemon is",
            "it cannot be loaded here",
            f"[images.{image.name}]\nplatforms = [{platforms}]",
        )
        return
    held = {name: daemon.image(str(name)) for name in image.names}
    if missing := [name.familiar for name, found in held.items() if found is None]:
        yield problem(
            f"the daemon lacks {', '.join(missing)} ({image.name})",
            "nothing answers where it would be pulled from",
            site.load,
        )
        return
    if site.bundle and site.bundle.has(image, locked):
        is_held = daemon.holds(site.bundle.image(image, locked), image.names)
    else:
        known = {image.digest, locked.manifest, locked.config}
        # A compact bundle's image has another digest in a containerd store; without the bundle
        # nothing tells it from a foreign one.
        is_held = daemon.store == "containerd" or all(it.id in known for it in held.values() if it)
    if not is_held:
        yield problem(
            f"the daemon has another image than the locked one as {image.names[0].familiar}",
            "what is run is not what was locked",
            site.load,
        )


def _platforms(image: LockedImage) -> set[Platform]:
    return {locked.platform for locked in image.platform}


def check_layout(site: Site) -> Iterator[Finding]:
    """Whether the layout has the images that builds take from it, each with all its blobs."""
    layout, images = site.layout, site.layout.images()
    found = list(_unlisted(site, frozenset(map(str, images))))
    if images:
        try:
            check_folder(layout)
        except UsageError as error:
            found.append(told(error, "no build can take an image from it"))
    for name, digest in sorted(images.items()):
        try:
            lost = _lost(layout, digest)
        except IntegrityError as error:
            lost = error.message
        if lost:
            found.append(
                problem(
                    f"{name.familiar} in {layout.path}: {lost}",
                    "a build that takes it from there stops in the middle",
                    site.load,
                )
            )
    yield from found
    if not found:
        names = ", ".join(name.familiar for name in sorted(images)) or "no base or frontend image"
        yield ok(f"{layout.path}: {names}")


def _unlisted(site: Site, names: frozenset[str]) -> Iterator[Finding]:
    """The names that the lock wants in the layout and that are not there."""
    for image in site.lock.image if site.lock else ():
        missing = [name.familiar for name in image.names if str(name) not in names]
        if image.for_layout and missing:
            yield problem(
                f"{site.layout.path} lacks {', '.join(missing)} ({image.name})",
                "builds ask a registry for it",
                site.load,
            )


def _lost(layout: Layout, digest: Digest) -> str | None:
    """What of an image is not there; None where each platform that is has all its content.

    Raises:
        IntegrityError: see `parts_of`.
    """
    parts = parts_of(layout, digest)
    here = [it for it in parts if it.is_there]
    if not here:
        missing = f"{digest} is missing"
        return missing if any(it.lost == digest for it in parts) else "no platform of it is there"
    lost = next((it.lost for it in here if it.lost), None)
    return f"{lost} is missing or damaged" if lost else None


def platforms_in(layout: Layout, digest: Digest) -> tuple[Platform, ...]:
    """The platforms of an image of which the layout has something.

    Raises:
        IntegrityError: see `parts_of`.
    """
    parts = parts_of(layout, digest)
    return tuple(it.platform for it in parts if it.is_there and it.platform)
