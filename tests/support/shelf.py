"""Images in a layout, made on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.oci.content import content, parse_index
from airgapbuild.oci.layout import Layout
from airgapbuild.oci.reference import parse_reference
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.digest import Digest


def shelve(
    folder: Path,
    name: str,
    *platforms: str,
    absent: tuple[str, ...] = (),
    on_build: tuple[str, ...] = (),
    index: bool = True,
) -> Digest:
    """Puts an image into a layout, without the manifests of some of its platforms; its digest."""
    source = MemorySource()
    top = source.publish(
        name,
        *platforms,
        layers=(b"base", name.encode()),
        attested=False,
        index=index,
        on_build=on_build,
    )
    left_out = set()
    if index:
        entries = parse_index(top, name).platforms
        left_out = {it.digest for platform, it in entries if str(platform) in absent}
    layout = Layout(folder)
    raws = [content.raw for content in source.manifests.values()] + [*source.blobs.values()]
    for raw in raws:
        descriptor = descriptor_of(raw)
        if descriptor.digest not in left_out:
            layout.put(descriptor, iter([raw]))
    layout.name(top.descriptor, (str(parse_reference(name)),))
    return top.descriptor.digest


def descriptor_of(raw: bytes) -> Descriptor:
    """What names a blob, whatever it is."""
    return content(raw, "application/octet-stream").descriptor
