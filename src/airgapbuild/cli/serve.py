"""`airgapbuild serve`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import (
    ColorWhen,
    Json,
    MinSerial,
    PolicyPath,
    Quiet,
    Signers,
    Verbose,
)
from airgapbuild.errors import BundleError, UsageError
from airgapbuild.files import is_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.bundle.signature import Policy
    from airgapbuild.mirror.address import Address
    from airgapbuild.mirror.catalog import Catalog
    from airgapbuild.oci.layout import Layout

_SHORT = 19


def serve_command(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE...", help="Folders of bundles, and OCI layouts."),
    ],
    *,
    listen: Annotated[
        str,
        typer.Option("--listen", "-l", metavar="HOST:PORT", help="Where; port 0 is any free one."),
    ] = "127.0.0.1:5000",
    cert: Annotated[
        Path | None,
        typer.Option("--cert", metavar="FILE", help="Speak TLS with this certificate (PEM)."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Its private key (PEM).")
    ] = None,
    htpasswd: Annotated[
        Path | None,
        typer.Option(
            "--htpasswd", metavar="FILE", help="Ask for a user of this file: htpasswd -B writes it."
        ),
    ] = None,
    plain_http: Annotated[
        bool,
        typer.Option("--plain-http", help="Go without TLS where other machines can reach it."),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="An OCI layout for what compact bundles hold.",
            show_default="~/.cache/airgapbuild/serve",
        ),
    ] = None,
    file: PolicyPath = None,
    allowed_signers: Signers = None,
    min_serial: MinSerial = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Be a read-only registry of what bundles hold.

    For builders and daemons that want a mirror: docker.io/library/busybox:1.37 is served as
    library/busybox:1.37. Images of other registries are found in the same way, below their
    registry's name (quay.io/org/image), and by the ns=quay.io of containerd and BuildKit. All is
    verified before the first answer. It ends by Ctrl-C or SIGTERM; pulls that run then have a
    minute.

    **Examples**

        airgapbuild serve bundles/builders
        airgapbuild serve bundles/builders bundles/apps ~/.local/share/airgapbuild/layout
        airgapbuild serve --listen 0.0.0.0:443 --cert mirror.pem --key mirror.key bundles/builders
        airgapbuild serve --htpasswd users bundles/builders
        airgapbuild serve --json --listen 127.0.0.1:0 bundles/builders
    """
    console = Console("serve", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.cli.connect import policy_for
        from airgapbuild.cli.inputs import own_folder
        from airgapbuild.mirror.address import listen as listening_at
        from airgapbuild.mirror.address import parse_address
        from airgapbuild.mirror.app import Mirror
        from airgapbuild.mirror.extra import library
        from airgapbuild.mirror.htpasswd import read_users
        from airgapbuild.mirror.server import run
        from airgapbuild.mirror.stocking import stocked
        from airgapbuild.oci.layout import Layout

        library("uvicorn")  # it is missed now rather than when all is verified
        address = parse_address(listen)
        pair = _pair(cert, key)
        _check_openness(address, has_tls=pair is not None, plain_http=plain_http)
        users = read_users(htpasswd) if htpasswd else None
        policy = policy_for(sources, file, allowed_signers, min_serial)
        opened = [_opened(path, policy) for path in sources]
        shelf = Layout(cache or own_folder("XDG_CACHE_HOME", ".cache") / "serve")
        with listening_at(address) as listening:
            stock = stocked(opened, shelf, progress=console)
            url = _url(address, listening.getsockname()[1], has_tls=pair is not None)
            _tell(console, stock.catalog, opened, url)
            run(Mirror(stock.catalog, stock.files, users, console.log, console), listening, pair)
        console.say("stopped")


def _pair(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    from airgapbuild.tls import check_pair

    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--cert and --key go together")
    try:
        check_pair(cert, key)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return cert, key


def _check_openness(address: Address, *, has_tls: bool, plain_http: bool) -> None:
    if not (address.is_loopback or has_tls or plain_http):
        raise UsageError(
            f"--listen {address}: other machines can reach it, and nobody could tell who answers",
            hint="give it --cert and --key, or say --plain-http",
        )


def _opened(path: Path, policy: Policy) -> Bundle | Layout:
    from airgapbuild.bundle.reader import open_bundle
    from airgapbuild.oci.layout import Layout

    if not is_file(path / "oci-layout", BundleError):
        return open_bundle(path, policy=policy)
    if policy.allowed or policy.min_serial is not None:
        raise UsageError(f"{path}: is a layout; only bundles have a signature and a serial")
    return Layout(path)


def _url(address: Address, port: int, *, has_tls: bool) -> str:
    from dataclasses import replace

    return f"http{'s' if has_tls else ''}://{replace(address, port=port)}"


def _tell(console: Console, catalog: Catalog, sources: Sequence[Bundle | Layout], url: str) -> None:
    from airgapbuild.bundle.reader import Bundle

    images: list[dict[str, Any]] = [
        {"name": f"{it.full_name}:{tag}", "path": f"{catalog.path_of(it)}:{tag}", "digest": digest}
        for it in catalog
        for tag, digest in sorted(it.tags.items())
    ]
    signers = [it.signer for it in sources if isinstance(it, Bundle) and it.signer]
    for signer in signers:
        console.say(f"signed by {signer}")
    for hidden, by in catalog.shadowed():
        console.note(
            f"{hidden.path} means {by.full_name}; {hidden.full_name} is found below that name, or "
            f"with ns={hidden.registry}"
        )
    console.table(("IMAGE", "DIGEST"), [(it["path"], it["digest"][:_SHORT]) for it in images])
    console.say(f"serving at {url} until Ctrl-C")
    console.result({"url": url, "images": images, "signers": [asdict(it) for it in signers]})
