"""`airgapbuild init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgapbuild.cli.console import Color, Console
from airgapbuild.cli.options import ColorWhen, Json, Quiet, Verbose

TEMPLATE = """\
# What is to be carried over the gap. Then: airgapbuild lock, airgapbuild export.
version = 1
name = "builders"                            # the bundle is bundles/builders/
platforms = ["linux/amd64"]                  # also: "linux/arm64", …

[images.buildkit]                            # the name is yours
ref = "moby/buildkit:v0.34.2"
role = "builder"                             # builder | binfmt | tool: into the daemon
tags = ["moby/buildkit:buildx-stable-1"]     # more names that it gets on load

# [images.busybox]
# ref = "busybox:1.37"
# role = "base"                              # base | frontend: into an OCI layout on disk

# How registries are reached from here (the connected side).
# [registries."docker.io"]
# mirrors = ["registry.corp.example/dockerhub"]   # asked first, in this order
# upstream = false                           # never ask docker.io itself
# [registries."registry.corp.example"]
# ca = "certs/corp.pem"                      # also: http, insecure, cert, key

[builder]                                    # what `load` makes; leave it out for images only
name = "airgap"
image = "buildkit"
sealed = true                                # look-ups outside fail at once instead of stalling
driver-opts = { network = "host" }

[buildkitd.worker.oci]                       # buildkitd.toml, checked key by key
max-parallelism = 4

# The mirrors on the isolated side.
# [buildkitd.registry."docker.io"]
# mirrors = ["registry.inside.example:5000"]
# The same with more to say: mirrors = [{ host = "registry.inside.example:5000", ca = "corp.pem" }]
"""
DEFAULT = Path("airgapbuild.toml")


def init_command(
    *,
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: ColorWhen = Color.AUTO,
) -> None:
    """Write a commented manifest to start from.

    It declares a builder, and shows in comments what else there is. A file that is there stays.

    **Examples**

        airgapbuild init
        airgapbuild init ci/builders.toml
    """
    console = Console("init", as_json=as_json, quiet=quiet, verbose=verbose, color=color)
    with console.reporting():
        from airgapbuild.errors import UsageError
        from airgapbuild.files import mode_of, write_if_changed

        if mode_of(path) is not None and not force:
            raise UsageError(f"{path}: is there already", hint="--force replaces it")
        try:
            write_if_changed(path, TEMPLATE.encode())
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        console.result({"manifest": str(path)})
        lock = "airgapbuild lock" + (f" --file {path}" if path != DEFAULT else "")
        console.say(f"{path} is written; edit it, then: {lock}")
