"""The row of a mirror: many pull from it at once."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.big import PLATFORM, REPOSITORY, TAG, big_image
from tests.bench.measure import OURS, BenchError, Command, Tool
from tests.bench.row import Row
from tests.engines import layout, process
from tests.engines.registry import Registry
from tests.support.program import PROGRAM, airgapbuild

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.bench.stage import Stage
    from tests.engines.layout import Image

_CLIENTS = 200
_LAYERS_MB = (60, 40, 20, 10)
_SERVING = re.compile(r"serving at http://127\.0\.0\.1:(\d+)")
_PORT = 5077
_NGINX = """\
daemon off;
user root;
worker_processes auto;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  {temporary}
  server {{
    listen 127.0.0.1:{port};
    root {folder};
    location = /v2/ {{ return 200; }}
    location /v2/{repository}/manifests/sha256 {{ default_type {type}.manifest.v1+json; }}
    location /v2/{repository}/manifests/ {{ default_type {type}.index.v1+json; }}
  }}
}}
"""
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def _crowd(stage: Stage, clients: int) -> Iterator[list[Tool]]:
    folder = stage.folder / "crowd"
    image = big_image(folder / "layout", _LAYERS_MB)
    bundle = _bundle(stage, folder / "layout", image)
    config = _site(folder / "site", folder / "layout", image)
    nginx = stage.bed.part("nginx") / "nginx"
    servers: dict[str, tuple[str | Path, ...]] = {
        OURS: (PROGRAM, "serve", "--listen", "127.0.0.1:0", bundle),
        "nginx": ("sh", "-c", f'echo "{_says(_PORT)}"; exec "$0" "$@"', nginx, "-c", config),
    }
    name = f"{REPOSITORY}:{TAG}"
    pull = f'seq {clients} | xargs -P {clients} -I % crane pull "$0/{name}" /dev/null'

    @contextmanager
    def ready(server: Sequence[str | Path]) -> Iterator[Command]:
        with _served(server, folder / "log", stage.env) as (pid, address):
            command = stage.command("sh", "-c", pull, address)
            yield replace(command, server=pid)

    yield [Tool(tool, partial(ready, argv)) for tool, argv in servers.items()]


def _says(port: int) -> str:
    return f"serving at http://127.0.0.1:{port}"


@contextmanager
def _served(
    argv: Sequence[str | Path], log: Path, env: dict[str, str]
) -> Iterator[tuple[int, str]]:
    """A server's process, and where it listens."""
    log.unlink(missing_ok=True)
    running = process.start(argv, log, env)
    try:
        found = process.until(lambda: _SERVING.search(log.read_text()), running, log, 60)
        yield running.pid, f"127.0.0.1:{found[1]}"
    finally:
        process.stop(running)


def _bundle(stage: Stage, blobs: Path, image: Image) -> Path:
    with Registry.start(stage.bed, writable=True, empty=True) as registry:
        layout.store(blobs, image, registry.storage)
        folder = stage.locked("crowd-bundle", registry, f"{REPOSITORY}:{TAG}", (PLATFORM,))
        done = airgapbuild("export", "-q", cwd=folder, env=stage.env)
        if done.returncode:
            raise BenchError(done.stderr)
    return folder / "bundles/builders"


def _site(folder: Path, blobs: Path, image: Image) -> Path:
    """The same blobs as files, under the names by which a registry is asked; nginx's settings."""
    there = folder / "v2" / REPOSITORY
    for kind in ("manifests", "blobs"):
        (there / kind).mkdir(parents=True)
    for blob in (blobs / "blobs/sha256").iterdir():
        os.link(blob, there / "blobs" / f"sha256:{blob.name}")
        os.link(blob, there / "manifests" / f"sha256:{blob.name}")
    os.link(layout.blob(blobs, image.index), there / "manifests" / TAG)
    config = folder / "nginx.conf"
    temporary = "\n  ".join(f"{kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY)
    media_type = "application/vnd.oci.image"
    config.write_text(
        _NGINX.format(
            folder=folder, temporary=temporary, port=_PORT, repository=REPOSITORY, type=media_type
        )
    )
    return config


_WHAT = (
    "crane pulls of an image of 130 MB in 4 layers at once, digests verified and the bytes thrown "
    "away; nginx 1.22 has the same blobs as files (sendfile, no log), ours a bundle, and its log; "
    "memory is the server's, all its processes at their highest"
)

ROWS = (Row(f"serve-{_CLIENTS}", f"{_CLIENTS} {_WHAT}", partial(_crowd, clients=_CLIENTS)),)
