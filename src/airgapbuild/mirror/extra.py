"""The libraries of the extra `serve`, or what to do where it is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from airgapbuild.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

_HINT = "pip install 'airgapbuild[serve]'"


def library(name: str) -> ModuleType:
    """One of them.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name} is not installed, and serve needs it", hint=_HINT) from error
