"""The libraries of the extra `serve`, or what to do where it is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgapbuild.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

_HINT = "pip install 'airgapbuild[serve]'"


def uvicorn() -> ModuleType:
    """The server.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import uvicorn as found  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError as error:
        raise _missing("uvicorn") from error
    return found


def bcrypt() -> ModuleType:
    """What checks passwords.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import bcrypt as found  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError as error:
        raise _missing("bcrypt") from error
    return found


def _missing(name: str) -> UsageError:
    return UsageError(f"{name} is not installed, and serve needs it", hint=_HINT)
