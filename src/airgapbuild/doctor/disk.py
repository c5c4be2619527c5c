"""Whether there is room for what is to be loaded, and for builds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airgapbuild.doctor.finding import Finding, ok, problem, warning
from airgapbuild.engine.daemon import Daemon
from airgapbuild.words import size_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airgapbuild.doctor.site import Site

_UNPACKED: Final = 4
"""How much room an image takes in a daemon, by the size of its compressed layers: the blobs, and
2.6 times as much for what they unpack to (measured with moby/buildkit)."""
_LEAST: Final = 1_000_000_000
"""Bytes below which a build soon runs out."""

_DOCKER: Final = "docker system df; docker buildx prune"
_CACHE: Final = "export XDG_CACHE_HOME=…, a folder with more room"
_LAYOUT: Final = "airgapbuild layout prune{}, or another --layout"


def check_disk(site: Site) -> Iterator[Finding]:
    """The free space of each place, against what is still to come there."""
    mends = {
        site.cache.absolute(): _CACHE,
        site.layout.path.absolute(): _LAYOUT.format(site.layout_option),
    }
    for path, need in _needs(site).items():
        mend = mends.get(path, _DOCKER)
        place = next(it for it in (path, *path.parents) if os.path.exists(it))  # noqa: PTH110
        free = shutil.disk_usage(place).free
        what = f"{size_words(free)} free at {path}"
        if free < need:
            yield problem(
                f"{what}, and {size_words(need)} are to come",
                "loading stops in the middle",
                mend,
            )
        elif free < _LEAST:
            yield warning(what, "a build soon runs out", mend)
        else:
            yield ok(what)


def _needs(site: Site) -> dict[Path, int]:
    """What is to come, in bytes, by where it goes, as far as that can be seen from here."""
    needs = {site.layout.path.absolute(): _to_layout(site), site.cache.absolute(): 0}
    daemon = site.daemon
    if isinstance(daemon, Daemon) and daemon.endpoint.host.startswith("unix://"):
        root = Path(daemon.root_dir)
        if os.path.exists(root):  # noqa: PTH110 - pathlib's raises, where it may not look
            needs[root] = _to_daemon(site, daemon)
    return needs


def _to_layout(site: Site) -> int:
    if site.lock is None:
        return 0
    here = site.layout.images()
    images = [image for image in site.lock.image if image.for_layout]
    absent = [image for image in images if not here.keys() & set(image.names)]
    return sum(locked.layers_size for image in absent for locked in image.platform)


def _to_daemon(site: Site, daemon: Daemon) -> int:
    images = [image for image in site.lock.image if image.for_daemon] if site.lock else []
    absent = [image for image in images if not any(daemon.image(str(n)) for n in image.names)]
    locked = [found for image in absent if (found := image.on(daemon.platform))]
    return _UNPACKED * sum(it.layers_size for it in locked)
