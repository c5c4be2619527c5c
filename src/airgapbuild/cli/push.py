"""`airgapbuild push`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, MinSerial, Quiet, Signers, Verbose
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from airgapbuild.push import PushedImage


def push_command(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BASE]... BUNDLE",
            help="The folder of the bundle; before it, those that have what it leaves out.",
        ),
    ],
    registry: Annotated[
        str, typer.Argument(metavar="REGISTRY[/PREFIX]", help="The registry, or a path in one.")
    ],
    *,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite",
            help="Put each image where the builder's mirrors in [buildkitd] at this registry "
            "lead to, paths included.",
        ),
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="A manifest whose [registries] say how the registry is reached, and whose "
            "[policy], if it has one, is to be met.",
        ),
    ] = None,
    allowed_signers: Signers = None,
    min_serial: MinSerial = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Put a bundle's images into a registry, by digest and tag.

    docker.io/library/busybox:1.37 becomes REGISTRY/PREFIX/library/busybox:1.37, which is where
    BuildKit looks that has REGISTRY/PREFIX as its mirror of docker.io. Platforms, attestations and
    signatures go along. The bundle is verified first, as for load. What the registry has is not
    sent again, and what breaks off goes on where it was.

    **Examples**

        airgapbuild push bundles/builders registry.inside.example:5000
        airgapbuild push bundles/builders registry.inside.example:5000/dockerhub
        airgapbuild push --rewrite bundles/builders registry.inside.example:5000
        airgapbuild push bundles/builders bundles/builders-differential localhost:5000
        airgapbuild push --file airgapbuild.toml --json bundles/builders registry.inside.example
    """
    console = Console("push", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.connect import open_with_bases, policy_for
        from airgapbuild.cli.inputs import own_folder
        from airgapbuild.cli.sources import registry_target
        from airgapbuild.destination import parse_destination, places
        from airgapbuild.manifest import read_manifest
        from airgapbuild.push import push_images

        destination = parse_destination(registry)
        manifest = read_manifest(file) if file else None
        policy = policy_for(bundles, file, allowed_signers, min_serial, demanded=False)
        bundle, bases = open_with_bases(bundles, policy)
        where = places(bundle.lock, destination, by_mirrors=rewrite)
        with registry_target(destination.registry, manifest, console) as target:
            scratch = own_folder("XDG_CACHE_HOME", ".cache")
            images = push_images(bundle, target, where, scratch, bases=bases, progress=console)
        if bundle.signer:
            console.say(f"signed by {bundle.signer}")
        console.table(("IMAGE", "NAME", "DIGEST", "PLATFORMS", ""), list(map(_row, images)))
        console.say(f"{destination} has all of {bundle.folder}")
        console.result(
            {
                "registry": str(destination),
                "signer": bundle.signer and asdict(bundle.signer),
                "images": [_document(image) for image in images],
            }
        )


def _row(pushed: PushedImage) -> tuple[str, ...]:
    name = pushed.names[0]
    return (
        pushed.image.name,
        name.familiar if name.tag else name.name,
        pushed.digest[:19] if pushed.is_exact else f"{pushed.digest[:19]} (derived)",
        ", ".join(str(locked.platform) for locked in pushed.platforms),
        f"{pushed.action} ({_moved(pushed)})" if pushed.action == "pushed" else pushed.action,
    )


def _moved(pushed: PushedImage) -> str:
    mounted = f", {size_words(pushed.mounted)} mounted" if pushed.mounted else ""
    return f"{size_words(pushed.sent)}{mounted}"


def _document(pushed: PushedImage) -> dict[str, Any]:
    return {
        "name": pushed.image.name,
        "names": [str(name) for name in pushed.names],
        "locked": pushed.image.digest,
        "digest": pushed.digest,
        "exact": pushed.is_exact,
        "platforms": [str(locked.platform) for locked in pushed.platforms],
        "action": pushed.action,
        "sent": pushed.sent,
        "mounted": pushed.mounted,
    }
