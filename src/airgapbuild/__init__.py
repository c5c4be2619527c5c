"""Pin, bundle and load Buildx builder images for hosts that reach no registry."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: that takes a tenth of a command's start."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("airgapbuild")
