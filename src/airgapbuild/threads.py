"""Threads for work that waits for others, and the end of that work."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")


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


def within(seconds: float, work: Callable[[], _T]) -> _T:
    """What `work` gives or raises, if it does so in time; else it is left alone with its peer.

    Raises:
        TimeoutError: it does not.
    """
    ended: Future[_T] = Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            ended.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return ended.result(seconds)
