"""The page's sections on what is in the bundle: images, layers, and what vouches for them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from airgapbuild.report.charts import bar
from airgapbuild.report.markup import Child, Markup, tag, together
from airgapbuild.report.pieces import code, digits, lines, section, table, terms
from airgapbuild.words import count_words, size_words

if TYPE_CHECKING:
    from airgapbuild.inspection import Inspected, InspectedImage, InspectedPlatform
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest
    from airgapbuild.oci.reference import Reference

_ROLES: Final = {
    "builder": ("Builder", "BuildKit: it runs the builds."),
    "binfmt": ("Emulators", "They run programs of other platforms during a build."),
    "tool": ("Tools", "They run as containers."),
    "frontend": ("Frontends", "What “# syntax=” in a Dockerfile names."),
    "base": ("Base images", "What FROM in a Dockerfile names."),
}

_PLACES: Final = {"daemon": "the Docker daemon", "layout": "an OCI layout on disk"}


def images_section(content: Inspected) -> Markup:
    """The images by role, each with its origin, its names, its digests and its sizes, drawn."""
    largest = max(platform.size for image in content.images for platform in image.platforms)
    groups = [
        together(
            [
                tag("h3", title),
                tag("p", purpose, class_="aside"),
                *(
                    _image(content, image, largest)
                    for image in content.images
                    if image.role == role
                ),
            ]
        )
        for role, (title, purpose) in _ROLES.items()
        if any(image.role == role for image in content.images)
    ]
    return section("images", "Images", _legend(content), *groups)


def _legend(content: Inspected) -> Markup:
    kinds = {"own": "its own", "shared": "also in another image or platform of this bundle"}
    if not _all_read(content):
        kinds["unknown"] = "not looked into"
    swatches = [
        tag("span", tag("span", class_=f"swatch {kind}", aria_hidden="true"), f" {words}")
        for kind, words in kinds.items()
    ]
    return tag(
        "p",
        "All bars have the same scale, and are cut into layers:",
        *swatches,
        class_="aside legend",
    )


def _image(content: Inspected, image: InspectedImage, largest: int) -> Markup:
    facts = terms(
        ("Comes from", _origin(content, image)),
        ("Digest", digits(image.digest)),
        ("Goes into", " and ".join(_PLACES[place] for place in image.places)),
        ("Gets the names", lines([code(name) for name in image.names] or ["none"])),
    )
    rows = [
        (
            platform.platform,
            _drawn(content, platform, largest),
            terms(
                ("Manifest", digits(platform.manifest)),
                ("Config, the image ID", digits(platform.config)),
                ("File", _file(platform)),
            ),
        )
        for platform in image.platforms
    ]
    return tag(
        "article",
        tag("h4", image.name, " ", code(image.ref or "")),
        facts,
        table(
            f"Platforms of {image.name}",
            ("Platform", "Layers", "Content"),
            rows,
            class_="platforms",
        ),
    )


def _origin(content: Inspected, image: InspectedImage) -> Child:
    locked = content.lock and content.lock.find(image.name)
    return _words_of(locked.ref) if locked else ""


def _words_of(ref: Reference) -> Child:
    match ref.transport:
        case "oci-layout":
            return together(["no registry: the OCI layout ", code(ref.name)])
        case "docker-daemon":
            return together(["no registry: a Docker daemon, as ", code(ref.name)])
    return together(["the registry ", code(ref.registry), ", repository ", code(ref.repository)])


def _drawn(content: Inspected, platform: InspectedPlatform, largest: int) -> Markup:
    if platform.layers is None:
        return together([_size(platform), bar([(platform.size, "unknown")], largest)])
    kinds = ["shared" if len(content.owners[it.digest]) > 1 else "own" for it in platform.layers]
    pieces = [(layer.size, kind) for layer, kind in zip(platform.layers, kinds, strict=True)]
    shared = kinds.count("shared")
    told = count_words(len(kinds), "layer") + (f", {shared} shared" if shared else "")
    return together([_size(platform), bar(pieces, largest), tag("div", told, class_="aside")])


def _size(platform: InspectedPlatform) -> Markup:
    return tag("div", size_words(platform.size), class_="figure")


def _file(platform: InspectedPlatform) -> Child:
    if platform.tarball is None:
        return "none"
    return together(
        [code(platform.tarball), *([] if platform.here else [tag("strong", " is missing")])]
    )


def layers_section(content: Inspected) -> Markup:
    """Every layer once, with the images that have it."""
    layers = {
        layer.digest: layer
        for image in content.images
        for platform in image.platforms
        for layer in platform.layers or ()
    }
    shared = sum(len(content.owners[digest]) > 1 for digest in layers)
    return section(
        "layers",
        "Layers",
        tag(
            "p",
            f"{count_words(len(layers), 'different layer')}, {size_words(_total(layers))} in all"
            f"; {shared or 'none'} of them in more than one image or platform.",
        ),
        table(
            "Layers by digest",
            ("Layer", "Size", "In"),
            [
                (digits(digest), size_words(layer.size), lines(content.owners[digest]))
                for digest, layer in layers.items()
            ],
            class_="layers",
        ),
    )


def _total(layers: dict[Digest, Descriptor]) -> int:
    return sum(layer.size for layer in layers.values())


def evidence_section(content: Inspected) -> Markup:
    """The attestations, signatures and SBOMs that travel along."""
    pieces: defaultdict[tuple[Digest, tuple[str, ...]], list[str]] = defaultdict(list)
    for image in content.images:
        for platform in image.platforms:
            for piece in platform.evidence:
                pieces[piece.digest, piece.types].append(f"{image.name} {platform.platform}")
    if not pieces:
        words = "The bundle carries no attestations, signatures or SBOMs of its images."
        return section("evidence", "Evidence", tag("p", words))
    return section(
        "evidence",
        "Evidence",
        tag(
            "p",
            "What was attached to the images where they come from. It is carried unchanged; "
            "this report does not judge it.",
        ),
        table(
            "Attestations, signatures and SBOMs",
            ("What it is, and its manifest", "Of"),
            [
                (
                    lines([*map(code, types or ("attestation",)), digits(digest)]),
                    lines(owners),
                )
                for (digest, types), owners in pieces.items()
            ],
            class_="evidence",
        ),
    )


def _all_read(content: Inspected) -> bool:
    platforms = [platform for image in content.images for platform in image.platforms]
    return all(platform.layers is not None for platform in platforms)


def needs_section(content: Inspected) -> Markup:
    """What the receiver must hold already."""
    title = "What the receiver must hold already"
    unread = "Of images whose tarballs are missing or not right, it cannot be told."
    caveat = [] if _all_read(content) else [tag("p", unread)]
    rows: list[tuple[Child, ...]] = [
        (digits(digest), size_words(size), f"{image.name} {platform.platform}")
        for image in content.images
        for platform in image.platforms
        for digest, size in (
            *((blob.digest, blob.size) for blob in platform.lacking),
            *((older.digest, older.size) for older in platform.references),
        )
    ]
    if not rows:
        whole = tag("p", "Nothing: every image is here with all that it consists of.")
        return section("needs", title, *(caveat or [whole]))
    return section(
        "needs",
        title,
        tag(
            "p",
            "This bundle is a difference: these parts of its images, and older layers by which "
            "some of its own are told, are not in it.",
        ),
        table(
            "Content that is not in the bundle", ("Content", "Size", "Of"), rows, class_="layers"
        ),
        *caveat,
    )
