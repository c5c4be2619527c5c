"""The buildx builder that a lock describes."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from airgapbuild.builder.buildkitd import config_files, sealing
from airgapbuild.builder.instance import Instance
from airgapbuild.document import meaning_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airgapbuild.lockfile import Lock

_DEFAULT_FLAGS: Final = ("--allow-insecure-entitlement=network.host",)
"""What `docker buildx create` gives a builder without flags (buildx builder/builder.go)."""

_MARK: Final = "AIRGAPBUILD_CONFIG"
"""The variable by which a builder's container tells what it was made from: buildx never compares
an existing container with the instance, and another job's container may come from another lock."""


def wanted_instance(
    lock: Lock, endpoint: str = "default", *, there: Mapping[str, bytes] = MappingProxyType({})
) -> Instance | None:
    """The builder of a lock on an endpoint; None where the manifest wants none.

    `there` are the files that no lock has: `there.files_there`.
    """
    image = lock.builder_image
    if lock.builder is None or image is None:
        return None
    sealed = sealing(lock.buildkitd) if lock.builder.sealed else {}
    options = {**sealed, **lock.builder.driver_opts, "image": str(image.builder_name)}
    return _marked(
        Instance(
            name=lock.builder.name,
            endpoint=endpoint,
            driver_opts=options,
            flags=lock.builder.flags or _DEFAULT_FLAGS,
            files={**config_files(lock.buildkitd), **there},
        )
    )


def made_from(instance: Instance, environment: Collection[str]) -> bool:
    """Whether a container with this environment (`NAME=value`) was made from the instance."""
    return f"{_MARK}={instance.driver_opts[f'env.{_MARK}']}" in environment


def _marked(instance: Instance) -> Instance:
    files = {
        name: content.decode(errors="surrogateescape") for name, content in instance.files.items()
    }
    digest = meaning_of([dict(instance.driver_opts), list(instance.flags), files])
    return replace(instance, driver_opts={**instance.driver_opts, f"env.{_MARK}": digest})
