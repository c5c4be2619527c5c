"""install.sh: what a plain shell and docker can do with a bundle."""

from __future__ import annotations

from importlib.resources import files


def install_script() -> bytes:
    """The bytes of install.sh, the same for every bundle, so that they can be reviewed once."""
    return files(__package__).joinpath("install.sh").read_bytes()
