"""Pinned images + source → tarballs, as `export` is told to pack them.

What comes from a source goes into exact tarballs under construction, whatever the bundle is to
have: there it is shared out, resumed and verified. Compact ones are made from them when all is
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from airgapbuild.bundle.index import beyond, tarball_name
from airgapbuild.bundle.recoder import CompactTarball
from airgapbuild.bundle.writer import Section, Tarball
from airgapbuild.errors import RegistryError
from airgapbuild.fetch import Pace, Wanted, fetch
from airgapbuild.lockfile import LockedImage, LockedPlatform
from airgapbuild.oci.archive import archive_members
from airgapbuild.oci.derived import raw_layers
from airgapbuild.pins import read_pinned
from airgapbuild.threads import pool
from airgapbuild.words import count_words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from airgapbuild.bundle.index import BundledFile
    from airgapbuild.bundle.packaging import Packaging
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.image import PlatformImage
    from airgapbuild.oci.reference import Reference
    from airgapbuild.oci.source import RangedSource
    from airgapbuild.progress import Progress

Pin: TypeAlias = tuple[LockedImage, LockedPlatform]

_ENCODERS: Final = 2
"""How many tarballs are compressed at once: each takes up to 300 MB of memory."""


def pack(
    pins: list[Pin],
    source: RangedSource,
    folder: Path,
    packaging: Packaging,
    progress: Progress,
    pace: Pace,
) -> tuple[dict[str, BundledFile], int]:
    """The tarballs of these pins, by name, and the bytes fetched; all of them, or none.

    Raises:
        RegistryError, IntegrityError, LockError, BundleError: see `export`.
    """
    if not pins:
        return {}, 0
    task = progress.task(f"ask {', '.join(sorted({_asked(image.ref) for image, _ in pins}))}")
    with pool(pace.workers, "export") as threads:
        images = list(threads.map(lambda pin: read_pinned(source, *pin), pins))
    task.done(count_words(len(pins), "manifest"))
    if packaging.compact_level:
        for pin, image in zip(pins, images, strict=True):
            raw_layers(image, name_of(pin))
    tarballs: list[Tarball] = []
    try:
        for pin, image in zip(pins, images, strict=True):
            tarballs.append(_tarball(folder, pin, image, packaging))
        fetched = _fetch(pins, tarballs, source, progress, pace)
        made: list[Tarball] | list[CompactTarball] = tarballs
        if packaging.compact_level:
            made = _compact(folder, pins, images, tarballs, packaging, progress)
        return {tarball.name: tarball.commit() for tarball in made}, fetched
    except RegistryError as error:
        raise _unfinished(error) from error
    except BaseException:
        for tarball in tarballs:
            tarball.abandon()
        raise


def _asked(reference: Reference) -> str:
    """Where an image comes from."""
    return reference.registry or reference.transport


def name_of(pin: Pin) -> str:
    """The file name of a pin's tarball."""
    return tarball_name(pin[0], pin[1].platform)


def _fetch(
    pins: list[Pin],
    tarballs: list[Tarball],
    source: RangedSource,
    progress: Progress,
    pace: Pace,
) -> int:
    """Fills the tarballs; the bytes that came from the source."""
    blobs = _blobs(zip(pins, tarballs, strict=True))
    task = progress.task("fetch", sum(wanted.blob.size for wanted in blobs))

    def sum_up() -> None:
        for tarball in tarballs:
            tarball.sum_up()

    fetched = fetch(blobs, source, task, pace=pace, meanwhile=sum_up)
    task.done(count_words(len(blobs), "blob"))
    return fetched


def _blobs(pairs: Iterable[tuple[Pin, Tarball]]) -> list[Wanted]:
    """What is to be fetched, each content once, in the order of the tarballs."""
    places: dict[Digest, list[tuple[Tarball, Section]]] = {}
    found: dict[Digest, tuple[Reference, Descriptor]] = {}
    for (image, _), tarball in pairs:
        for section in tarball.missing:
            if section.blob:
                places.setdefault(section.blob.digest, []).append((tarball, section))
                found.setdefault(section.blob.digest, (image.ref, section.blob))
    return [Wanted(*found[digest], tuple(where)) for digest, where in places.items()]


def _unfinished(error: RegistryError) -> RegistryError:
    """The same error; what has arrived until then stays for the next run."""
    kept = "what has arrived is kept: run it again, and it goes on from there"
    hint = f"{error.hint}; {kept}" if error.hint else kept
    return RegistryError(error.message, hint=hint, status=error.status)


def _tarball(folder: Path, pin: Pin, image: PlatformImage, packaging: Packaging) -> Tarball:
    locked_image, locked = pin
    # What a compact tarball leaves out has to be measured all the same.
    is_compact = packaging.compact_level is not None
    requires = () if is_compact else packaging.left_out(*pin, image)
    tarball = Tarball(
        folder,
        name_of(pin),
        archive_members(image, locked_image.names, wanted=beyond(requires)),
        locked_image.name,
        locked.platform,
        part_size=None if is_compact else packaging.part_size,
    )
    tarball.requires = requires
    return tarball


def _compact(
    folder: Path,
    pins: list[Pin],
    images: list[PlatformImage],
    exact: list[Tarball],
    packaging: Packaging,
    progress: Progress,
) -> list[CompactTarball]:
    """The compact tarballs that these exact ones come to, and that take their place."""
    made = [CompactTarball(folder, tarball, packaging) for tarball in exact]
    size = sum(layer.size for image in images for layer in image.layers)
    task = progress.task("compress", 2 * size)

    def fill(it: tuple[CompactTarball, PlatformImage, Pin]) -> None:
        tarball, image, pin = it
        tarball.fill(image, pin, task)

    try:
        with pool(_ENCODERS, "compress") as threads:
            for _ in threads.map(fill, zip(made, images, pins, strict=True)):
                pass
    except BaseException:
        for tarball in made:
            tarball.abandon()
        raise
    task.done(count_words(len(made), "tarball"))
    return made
