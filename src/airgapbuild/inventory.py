"""inventory.json: what a receiver holds, for a differential export on the other side.

It crosses the gap outwards, so it says no more than is needed to leave something out: the daemon's
platform and kind of store, of each image the diff IDs of its layers, and the digests of the
layout's blobs. No names, no image IDs, no hosts, no times.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, NonNegativeInt, ValidationError

from airgapbuild.document import BYTE_ORDER_MARK, Many, Table
from airgapbuild.errors import BundleError, UsageError
from airgapbuild.files import write_if_changed
from airgapbuild.oci.content import json_object
from airgapbuild.oci.digest import DigestField
from airgapbuild.oci.platform import PlatformField

if TYPE_CHECKING:
    from pathlib import Path

    from airgapbuild.engine.daemon import Daemon
    from airgapbuild.oci.layout import Layout

VERSION: Final = 1
FILE_NAME: Final = "inventory.json"


class HeldBlob(Table):
    """A blob of the layout."""

    digest: DigestField
    size: NonNegativeInt = Field(description="In bytes.")


class Inventory(Table):
    """The whole of inventory.json."""

    inventory: Annotated[int, Field(ge=VERSION, le=VERSION)] = Field(
        description="The version of this format."
    )
    platform: PlatformField = Field(description="Of the daemon.")
    store: Literal["classic", "containerd"] = Field(description="Of the daemon's images.")
    images: Many[Many[DigestField]] = Field(
        description="Of each image of the daemon, the diff IDs of its layers, lowest first."
    )
    blobs: Many[HeldBlob] = Field(description="What the layout holds.")


def take_inventory(daemon: Daemon, layout: Layout) -> Inventory:
    """What a daemon and a layout hold, in an order that does not depend on theirs.

    Raises:
        DaemonError: the daemon does not say.
    """
    return Inventory(
        inventory=VERSION,
        platform=daemon.platform,
        store=daemon.store,
        images=tuple(sorted({chain for chain in daemon.layer_chains().values() if chain})),
        blobs=tuple(HeldBlob(digest=it.digest, size=it.size) for it in layout.blobs()),
    )


def render_inventory(inventory: Inventory) -> bytes:
    """The bytes of inventory.json."""
    document = inventory.model_dump(mode="json", by_alias=True)
    return json.dumps(document, indent=1).encode() + b"\n"


def write_inventory(path: Path, inventory: Inventory) -> bool:
    """Whether the file had to change to hold this inventory.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        return write_if_changed(path, render_inventory(inventory))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def parse_inventory(raw: bytes, what: str) -> Inventory:
    """The inventory in these bytes.

    Raises:
        BundleError: they are none, or of a newer version.
    """
    if raw.startswith(BOM_UTF8):
        raise BundleError(f"{what}: {BYTE_ORDER_MARK}")
    try:
        document = json_object(raw)
    except ValueError as error:
        raise BundleError(f"{what}: {error}") from error
    version = document.get("inventory")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"{what}: version {version} is newer than this airgapbuild reads ({VERSION})",
            hint="upgrade airgapbuild: pip install --upgrade airgapbuild",
        )
    try:
        return Inventory.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{what}: {place}: {first['msg']}") from error
