"""Bundles of images in memory, pushed into registries: what the tests of `push` share."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import urllib3

from airgapbuild.credentials import ANONYMOUS
from airgapbuild.destination import parse_destination, places
from airgapbuild.manifest import RegistrySettings
from airgapbuild.oci.reference import parse_reference
from airgapbuild.progress import SILENT
from airgapbuild.push import PushedImage, push_images
from airgapbuild.registry import RegistryTarget, Remote
from airgapbuild.registry.upload import CHUNK
from tests.integration.reading import PATIENT, Addressed

if TYPE_CHECKING:
    from airgapbuild.bundle.reader import Bundle
    from airgapbuild.credentials import Credentials
    from airgapbuild.oci.reference import Reference
    from airgapbuild.progress import Progress
    from airgapbuild.registry import Timeouts
    from tests.engines.registry import Registry
    from tests.support.project import Project

TEXT = """
version = 1
name = "b"
platforms = ["linux/amd64", "linux/arm64"]
[images.kit]
ref = "kit:1"
role = "tool"
tags = ["kit:stable", "corp/kit:1"]
[images.python]
ref = "python:1"
role = "base"
"""
BOTH = ("linux/amd64", "linux/arm64")
BASE = b"base" * 50_000

_CHANGE = re.compile(r'(?:^|["\s])(POST|PUT|PATCH|DELETE) (/v2/\S*)', re.MULTILINE)


def publish(project: Project, *, top: bytes = b"top", referred: bool = True) -> None:
    """Two images that share a layer, with attestations, a signature, and one of cosign's."""
    for name in ("kit:1", "python:1"):
        image = project.source.publish(name, *BOTH, layers=(BASE, name.encode() + top))
        if referred:
            project.source.attach(name, image.descriptor.digest)
            tag = f"{image.descriptor.digest.replace(':', '-')}.sig"
            project.source.attach(name, image.descriptor.digest, b"cosign", tag=tag)


def push(
    registry: Addressed,
    prefix: str,
    bundle: Bundle,
    *bases: Bundle,
    settings: RegistrySettings | None = None,
    credentials: Credentials = ANONYMOUS,
    progress: Progress = SILENT,
    timeouts: Timeouts = PATIENT,
    chunk: int = CHUNK,
) -> dict[str, PushedImage]:
    """What became of each image, by its name."""
    destination = parse_destination(f"{registry.address}/{prefix}")
    remote = Remote(credentials, timeouts=timeouts, progress=progress)
    where = places(bundle.lock, destination, by_mirrors=False)
    scratch = bundle.folder.parent
    its = settings or RegistrySettings()
    with closing(RegistryTarget(registry.address, its, remote, chunk=chunk)) as target:
        pushed = push_images(bundle, target, where, scratch, bases=bases, progress=progress)
    return {it.image.name: it for it in pushed}


def mirrored(registry: Addressed, prefix: str, **its: Any) -> dict[str, RegistrySettings]:
    """The settings by which what was pushed stands in for Docker Hub."""
    return {
        "docker.io": RegistrySettings(mirrors=(f"{registry.address}/{prefix}",), upstream=False),
        registry.address: RegistrySettings(**its),
    }


def there(registry: Addressed, path: str) -> Reference:
    """A reference in a registry."""
    return parse_reference(f"{registry.address}/{path}")


def changes(registry: Registry, prefix: str = "") -> list[str]:
    """The requests that changed something below a path, by a registry's own log."""
    mark = f"/v2/?mark={uuid4()}"
    urllib3.request("GET", f"http://{registry.address}{mark}")
    deadline = time.monotonic() + 20
    while mark not in (log := registry.log.read_text()):  # it writes a line after it has answered
        assert time.monotonic() < deadline
    found = _CHANGE.findall(log)
    return [f"{method} {path}" for method, path in found if path.startswith(f"/v2/{prefix}")]
