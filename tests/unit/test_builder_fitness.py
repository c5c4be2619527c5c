from __future__ import annotations

import pytest

from airgapbuild.builder.fitness import check_options
from airgapbuild.errors import BuilderError


@pytest.mark.parametrize("version", ["0.13.1+ds1-3", "0.29.1-desktop.1", "0.29.1"])
def test_an_option_that_a_buildx_does_not_know_is_told(version: str) -> None:
    check_options(version, "docker-container", ["network", "memory", "env.X"])
    with pytest.raises(BuilderError) as refused:
        check_options(version, "docker-container", ["allow-untrusted-image", "provenance-add-gha"])
    assert refused.value.lines == (
        f"buildx {version} does not know the driver option 'allow-untrusted-image': buildx 0.36 "
        "brought it",
        f"buildx {version} does not know the driver option 'provenance-add-gha': buildx 0.30 "
        "brought it",
    )
    assert refused.value.hint == (
        "use buildx 0.36 or newer, or lock again without it in [builder] driver-opts"
    )


@pytest.mark.parametrize("version", ["0.30.0", "0.38.2", "1.0.0", "0.0.0+unknown", "master"])
def test_a_buildx_that_knows_it_or_does_not_say_is_let_be(version: str) -> None:
    check_options(version, "docker-container", ["provenance-add-gha"])
