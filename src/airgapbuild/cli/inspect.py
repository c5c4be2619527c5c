"""`airgapbuild inspect`."""

from __future__ import annotations

import shlex
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from airgapbuild.inspection import Inspected, InspectedImage, InspectedPlatform
    from airgapbuild.oci.content import Descriptor

_SHORT = 19


def inspect_command(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE|TARBALL|LOCK", help="What to look into.")],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Tell what is in a bundle, one of its tarballs, or a lock.

    Images, names, platforms, digests, sizes, layers and which are shared, signatures and
    attestations, the builder, and what the receiver must hold already; of a bundle its serial, and
    whether there is a signature, by whomever. No daemon and no network is needed. It does not
    verify more than it must to read safely: airgapbuild verify does.

    **Examples**

        airgapbuild inspect bundles/builders
        airgapbuild inspect bundles/builders/buildkit_v0.34.2_linux-amd64.oci.tar.zst
        airgapbuild inspect --json airgapbuild.lock
    """
    console = Console("inspect", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.inspection import inspect

        found = inspect(path)
        console.result(_document(found))
        _say_bundle(console, found)
        _say_images(console, found)
        _say_layers(console, found)
        _say_builder(console, found)
        _say_needs(console, found)


def _say_bundle(console: Console, found: Inspected) -> None:
    if found.lock is None or found.size is None:
        return
    serial = "no serial" if found.serial is None else f"serial {found.serial}"
    signed = "has a signature" if found.signed else "not signed"
    console.say(f"{found.lock.name}: {size_words(found.size)}, {serial}, {signed}")
    console.say()


def _say_images(console: Console, found: Inspected) -> None:
    rows = [
        (
            image.name,
            image.role or "-",
            ", ".join(image.places) or "-",
            platform.platform,
            platform.manifest[:_SHORT],
            size_words(platform.size),
            _tarball(found, platform),
        )
        for image in found.images
        for platform in image.platforms
    ]
    console.table(("IMAGE", "ROLE", "INTO", "PLATFORM", "MANIFEST", "SIZE", "TARBALL"), rows)
    console.say()
    names = [(i.name, name, i.digest[:_SHORT]) for i in found.images for name in i.names]
    console.table(("IMAGE", "NAME", "DIGEST"), names)
    evidence = {
        (image.name, kind, piece.digest[:_SHORT])
        for image in found.images
        for platform in image.platforms
        for piece in platform.evidence
        for kind in piece.types or ("attestation",)
    }
    if evidence:
        console.say()
        console.table(("IMAGE", "SIGNATURES, ATTESTATIONS", "MANIFEST"), sorted(evidence))


def _tarball(found: Inspected, platform: InspectedPlatform) -> str:
    if not platform.here and found.kind == "bundle":
        return "missing"
    parts = f", {len(platform.parts)} parts" if platform.parts else ""
    return f"{platform.tarball or ''}{parts}"


def _say_layers(console: Console, found: Inspected) -> None:
    platforms = [(image, platform) for image in found.images for platform in image.platforms]
    derived = [(f"{image.name} {it.platform}", it.derived) for image, it in platforms if it.derived]
    columns = ["IMAGE", "LAYER", "SIZE", "RAW FORM OF", "SHARED WITH"]
    rows = [
        [
            f"{image.name} {platform.platform}",
            layer.digest[:_SHORT],
            size_words(layer.size),
            f"{upstream.digest[:_SHORT]} {size_words(upstream.size)}" if upstream else "",
            ", ".join(_shared(found, image, platform, layer)),
        ]
        for image, platform in platforms
        for layer, upstream in zip_longest(platform.layers or (), platform.upstream)
    ]
    if not derived:
        for row in (columns, *rows):
            del row[3]
    if rows:
        console.say()
        console.table(columns, rows)
    if derived:
        console.say()
        console.table(("IMAGE", "IN A CONTAINERD STORE"), derived)


def _say_builder(console: Console, found: Inspected) -> None:
    if found.lock:
        console.say()
        console.table(("SETTING", "VALUE"), [*found.settings.items()])
        if found.lock.builder is None:
            console.say("no builder is wanted")


def _say_needs(console: Console, found: Inspected) -> None:
    if found.kind == "tarball":
        console.say()
        console.say("not verified: its names are its own word, and its layers were not read")
    if found.kind != "bundle":
        return
    for image in found.images:
        for platform in image.platforms:
            of = f"of {image.name} {platform.platform}"
            for blob in platform.lacking:
                console.say(f"the receiver must hold {blob.digest} {of}")
            for older in platform.references:
                console.say(f"the receiver must hold the older layer {older.digest} {of}")
    if not any(
        platform.lacking or platform.references
        for image in found.images
        for platform in image.platforms
    ):
        console.say("the receiver needs no other content")
    console.say(f"not verified: airgapbuild verify {shlex.quote(str(found.path))}")


def _shared(
    found: Inspected, image: InspectedImage, platform: InspectedPlatform, layer: Descriptor
) -> list[str]:
    own = f"{image.name} {platform.platform}"
    return [owner for owner in found.owners[layer.digest] if owner != own]


def _document(found: Inspected) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "path": str(found.path),
        "name": found.lock and found.lock.name,
        "verified": False,
        "serial": found.serial,
        "signed": found.signed,
        "size": found.size,
        "images": [_image_document(found, image) for image in found.images],
        "settings": found.settings,
    }


def _image_document(found: Inspected, image: InspectedImage) -> dict[str, Any]:
    return {
        "name": image.name,
        "role": image.role,
        "into": list(image.places),
        "ref": image.ref,
        "names": list(image.names),
        "media-type": image.media_type,
        "digest": image.digest,
        "size": image.size,
        "platforms": [_platform_document(found, image, it) for it in image.platforms],
    }


def _platform_document(
    found: Inspected, image: InspectedImage, platform: InspectedPlatform
) -> dict[str, Any]:
    return {
        "platform": platform.platform,
        "manifest": platform.manifest,
        "config": platform.config,
        "layers-size": platform.size,
        "tarball": platform.tarball,
        "parts": list(platform.parts),
        "here": platform.here,
        "evidence": [
            {"digest": piece.digest, "types": list(piece.types)} for piece in platform.evidence
        ],
        "layers": None
        if platform.layers is None
        else [
            {
                "digest": layer.digest,
                "size": layer.size,
                "media-type": layer.media_type,
                "shared-with": _shared(found, image, platform, layer),
            }
            for layer in platform.layers
        ],
        "derived-manifest": platform.derived,
        "upstream-layers": [
            {"digest": layer.digest, "size": layer.size, "media-type": layer.media_type}
            for layer in platform.upstream
        ],
        "lacking": [{"digest": blob.digest, "size": blob.size} for blob in platform.lacking],
        "references": [{"digest": it.digest, "size": it.size} for it in platform.references],
    }
