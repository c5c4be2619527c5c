"""Pin, bundle and load Buildx builder images for hosts that reach no registry."""

from importlib.metadata import version

__version__ = version("airgapbuild")
