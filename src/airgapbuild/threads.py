"""Threads for work that waits for others, and the end of that work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def pool(workers: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads are waited for, except after Ctrl-C: a peer may be silent for long."""
    executor = ThreadPoolExecutor(workers, name)
    try:
        yield executor
    except BaseException as error:
        executor.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    executor.shutdown()
