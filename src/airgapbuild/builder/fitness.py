"""Whether a buildx can have a builder: it reads all of its settings in each command."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from airgapbuild.builder.buildkitd import BUILDKITD_FILE
from airgapbuild.buildkitd.checks import unreadable_by
from airgapbuild.buildkitd.since import parse_release
from airgapbuild.drivers import NEWEST, newer_options, version_words
from airgapbuild.errors import BuilderError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airgapbuild.builder.instance import Instance
    from airgapbuild.drivers import Driver

_RELEASE = re.compile(r"(\d+)\.(\d+)", re.ASCII)


def check_fits(version: str, instance: Instance) -> None:
    """Returns if a buildx of this version can have a builder.

    Raises:
        BuilderError: it does not know a driver option, or cannot read the buildkitd.toml.
    """
    names = {name for node in instance.nodes for name in node.driver_opts}
    check_options(version, instance.driver, names)
    check_config(version, instance.nodes[0].files.get(BUILDKITD_FILE, b""))


def check_options(version: str, driver: Driver, names: Iterable[str]) -> None:
    """Returns if this buildx knows all of these driver options.

    Another one would refuse whatever it is asked about a builder that has them. A buildx that was
    built without a version is given the benefit of the doubt.

    Raises:
        BuilderError: it does not; one line for each option.
    """
    found = _RELEASE.match(version)
    release = (int(found[1]), int(found[2])) if found else NEWEST
    newer = newer_options(driver, names, release) if release > (0, 0) else []
    if not newer:
        return
    needed = version_words(max(since for _, since in newer))
    raise BuilderError(
        *(
            f"buildx {version} does not know the driver option '{name}': "
            f"buildx {version_words(since)} brought it"
            for name, since in newer
        ),
        hint=f"use buildx {needed} or newer, or lock again without it in [builder] driver-opts",
    )


def check_config(version: str, content: bytes) -> None:
    """Returns if this buildx can read a buildkitd.toml.

    Raises:
        BuilderError: it cannot; one line for each key.
    """
    release = parse_release(version)
    if release and (problems := unreadable_by(release, tomllib.loads(content.decode()))):
        hint = f"buildx here is {version}: use a newer one, or lock without it"
        raise BuilderError(*problems, hint=hint)
