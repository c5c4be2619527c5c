"""Dockerfiles + layout → the images that a build needs, and which of them are not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from airgapbuild.builder.contexts import digests_by_name
from airgapbuild.builder.sbom import SCANNER
from airgapbuild.dockerfile.images import Need, needs
from airgapbuild.errors import BundleError
from airgapbuild.oci.presence import parts_of
from airgapbuild.oci.reference import parse_reference
from airgapbuild.suggestion import manifest_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airgapbuild.dockerfile.images import Build
    from airgapbuild.dockerfile.parser import Dockerfile
    from airgapbuild.oci.content import Config
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.layout import Layout
    from airgapbuild.oci.platform import Platform
    from airgapbuild.oci.presence import Part
    from airgapbuild.oci.reference import Reference

_TO_BUNDLE: Final = (
    "on the connected side add what is missing to airgapbuild.toml, then lock, export"
)
_TO_LOAD: Final = "airgapbuild load BUNDLE fills in what the layout has lost"


@dataclass(frozen=True)
class CheckedImage:
    """An image that is needed."""

    name: str
    """As it is written, with variables put in."""
    reference: Reference
    role: Literal["base", "frontend"]
    places: tuple[str, ...]
    """Where it is asked for: `Dockerfile:3`."""
    platforms: tuple[Platform, ...]
    """Those that it is needed for, sorted."""
    missing: tuple[Platform, ...]
    """Those of them that the layout lacks."""
    damaged: tuple[Digest, ...]
    """What of the others is missing or damaged: for each platform the first that is."""
    held: tuple[Platform, ...]
    """Those that the layout has it for, needed or not."""


@dataclass(frozen=True)
class Checked:
    """What a build needs, and what it lacks."""

    images: tuple[CheckedImage, ...]
    own: Platform
    """Of the builder."""
    hidden: tuple[str, ...]
    """Stages in whose place BuildKit would put an image of the layout, a line each."""
    unread: tuple[str, ...]
    """The files that frontends other than Docker's read: of those only the frontend is known."""

    @property
    def missing(self) -> tuple[CheckedImage, ...]:
        """The images that the layout lacks, or has for other platforms only."""
        return tuple(image for image in self.images if image.missing)

    @property
    def damaged(self) -> tuple[CheckedImage, ...]:
        """The images of which the layout has lost a part."""
        return tuple(image for image in self.images if image.damaged)

    @property
    def manifest_lines(self) -> str:
        """The tables that airgapbuild.toml needs for what is missing."""
        return manifest_tables(
            (image.reference, image.role, _named(image, self.own)) for image in self.missing
        )

    @property
    def error(self) -> BundleError | None:
        """What is wrong, one line for each problem; None where a build finds all it needs."""
        absent = [f"{image.places[0]}: {image.name} {_lack(image)}" for image in self.missing]
        broken = [
            f"{image.places[0]}: {image.name} is in the layout, but {_list(image.damaged)} of it "
            f"{'is' if len(image.damaged) == 1 else 'are'} missing or damaged"
            for image in self.damaged
        ]
        lines = [*absent, *broken, *self.hidden]
        hints = [*([_TO_BUNDLE] if absent else ()), *([_TO_LOAD] if broken else ())]
        return BundleError(*lines, hint="\n".join(hints) or None) if lines else None


def check(
    dockerfiles: Sequence[Dockerfile], builds: Sequence[Build], layout: Layout, *, sbom: bool
) -> Checked:
    """What builds of these Dockerfiles need, each of them built as each of `builds` says.

    Raises:
        UsageError: see `needs`.
        BundleError, IntegrityError: the layout cannot be read.
    """
    shelf = _Shelf(layout)
    found = [needs(file, build, shelf.triggers) for file in dockerfiles for build in builds]
    images = [need for each in found for need in each.images]
    if sbom:
        scanner = parse_reference(SCANNER)
        images.append(Need(SCANNER, scanner, builds[0].own, "base", "--sbom"))
    hidden = (
        f"{place}: stage '{name}' has the name of an image of the layout, which BuildKit would "
        "take instead: rename the stage"
        for each in found
        for name, place in each.stages
        if name in shelf.digests
    )
    unread = (each.images[0].place.rpartition(":")[0] for each in found if not each.is_known)
    return Checked(
        _gathered(images, shelf),
        builds[0].own,
        tuple(dict.fromkeys(hidden)),
        tuple(dict.fromkeys(unread)),
    )


class _Shelf:
    """The layout, as a build looks into it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.digests = digests_by_name(layout)
        """By the names that BuildKit looks for."""

    def parts(self, reference: Reference) -> tuple[Part, ...]:
        """The platforms of the image of this name."""
        digest = self.digests.get(reference.context_name)
        return parts_of(self._layout, digest) if digest else ()

    def triggers(self, reference: Reference, platform: Platform) -> tuple[str, ...]:
        """What the image has ONBUILD; nothing where it is not there."""
        fitting = [it for it in self._configs(reference) if it.platform.serves(platform)]
        return max(fitting, key=lambda it: it.platform).on_build if fitting else ()

    def _configs(self, reference: Reference) -> tuple[Config, ...]:
        digest = self.digests.get(reference.context_name)
        return self._layout.configs(digest) if digest else ()


def _gathered(found: Iterable[Need], shelf: _Shelf) -> tuple[CheckedImage, ...]:
    """Each image once, whatever asks for it."""
    by_name: dict[str, list[Need]] = {}
    for need in found:
        by_name.setdefault(need.reference.context_name, []).append(need)
    return tuple(_checked(group, shelf) for group in by_name.values())


def _checked(group: Sequence[Need], shelf: _Shelf) -> CheckedImage:
    first, parts = group[0], shelf.parts(group[0].reference)
    here = [it for it in parts if it.is_there]
    wanted = sorted({need.platform for need in group})
    # Where nothing of an image is there whose name is, it has been lost, and not left out.
    taken = {it: _taken(it, here or parts) for it in wanted}
    lost = (part.lost for part in taken.values() if part and part.lost)
    return CheckedImage(
        first.name,
        first.reference,
        first.role,
        tuple(dict.fromkeys(need.place for need in group)),
        tuple(wanted),
        missing=tuple(it for it, part in taken.items() if part is None),
        damaged=tuple(dict.fromkeys(lost)),
        held=tuple(it.platform for it in here if it.platform),
    )


def _taken(wanted: Platform, parts: Iterable[Part]) -> Part | None:
    """What a build for a platform takes of an image: the nearest variant."""
    fitting = [it for it in parts if it.serves(wanted)]
    return max(fitting, key=lambda it: it.platform or wanted, default=None)


def _lack(image: CheckedImage) -> str:
    if not image.held:
        return "is not in the layout"
    return f"is in the layout, but not for {_list(image.missing)}"


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _named(image: CheckedImage, own: Platform) -> list[Platform]:
    """The platforms that its table has to name; none where it is this machine's alone."""
    platforms = sorted({*image.platforms, *image.held})
    return [] if platforms == [own] else platforms
