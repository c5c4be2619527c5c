"""Blobs from a source into tarballs: side by side, shared out where the link is slow, resumed.

A blob comes at first in one stream, verified as it comes. A worker without work takes over half of
what the slowest stream has still before it, as a range: where a link is limited for each
connection, several carry one layer. What a killed run has left in a tarball is not asked for again.
A blob that came in pieces is read back and checked by whoever has brought the last of them; where
it is not right, or the pieces cannot be had, it is fetched once more in one stream.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from threading import Condition, Event
from typing import TYPE_CHECKING, Final

from airgapbuild.bundle.frames import FRAME, Frame, frames_of
from airgapbuild.errors import RangeIgnored, RegistryError
from airgapbuild.oci.digest import matches
from airgapbuild.threads import pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from airgapbuild.bundle.writer import Section, Tarball
    from airgapbuild.oci.content import Descriptor
    from airgapbuild.oci.reference import Reference
    from airgapbuild.oci.source import RangedSource
    from airgapbuild.progress import Task

_SHORTEST: Final = 2 * FRAME
"""A stream with less before it is not shared out, in bytes."""


@dataclass(frozen=True)
class Pace:
    """How much is done at once."""

    workers: int = 8
    patience: float = 2.0
    """Seconds: a stream that needs longer still is shared out to workers without work."""


DEFAULT_PACE: Final = Pace()


@dataclass(frozen=True)
class Wanted:
    """A blob to fetch once, and every place that it goes to."""

    reference: Reference
    blob: Descriptor
    places: tuple[tuple[Tarball, Section], ...]


def fetch(
    blobs: Iterable[Wanted],
    source: RangedSource,
    task: Task,
    *,
    pace: Pace = DEFAULT_PACE,
    meanwhile: Callable[[], None],
) -> int:
    """Fills every place of these blobs; the bytes that came from the source.

    `meanwhile` is called in this thread whenever more frames are whole.

    Raises:
        RegistryError, BundleError, IntegrityError: a blob cannot be had, or is not what it should
            be. What has arrived stays in the tarballs.
    """
    transfers = _Transfers(source, task, pace, [_Transfer(wanted) for wanted in blobs])
    with pool(pace.workers, "fetch") as threads:
        try:
            workers = [threads.submit(transfers.work) for _ in range(pace.workers)]
            for worker in workers:
                worker.add_done_callback(lambda _: transfers.news.set())
            while not all(worker.done() for worker in workers):
                transfers.news.wait()
                transfers.news.clear()
                meanwhile()
            for worker in workers:
                worker.result()
        finally:
            transfers.stop()
    return transfers.fetched


class _Transfer:
    """One blob on its way."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        found = [tarball.found(section) for tarball, section in wanted.places]
        self._found = frozenset[Frame].intersection(*found)
        self.resumed = any(found)
        """Whether some of it may be there already, so that it comes in pieces."""
        self.shareable = True
        self.open = 0
        """How many of its streams have not ended."""
        self.pieces = 0
        self.again = False
        """Whether it must be fetched once more, in one stream."""

    def streams(self) -> list[_Stream]:
        """What is to be fetched: one stream for each run of frames that are not there."""
        size = self.wanted.blob.size
        if not self.resumed:
            runs = [(0, size)]
        else:
            runs = _runs(frame for frame in frames_of(size) if frame not in self._found)
        # With nothing to fetch, an empty stream sees to the check.
        streams = [_Stream(self, start, stop) for start, stop in runs or [(0, 0)]]
        self.open = self.pieces = len(streams)
        return streams

    def forget(self) -> None:
        """Takes nothing of it for good, and asks for it anew."""
        for tarball, section in self.wanted.places:
            tarball.forget(section)
        self.resumed = self.shareable = self.again = False

    def is_right(self) -> bool:
        """Whether its content, read back, is that of its digest."""
        places = self.wanted.places if self.resumed else self.wanted.places[:1]
        blob = self.wanted.blob
        return all(
            matches(map(bytes, tarball.read(section)), blob.digest, blob.size)
            for tarball, section in places
        )


class _Stream:
    """One request's share of a blob: its bytes from `start` to `stop`."""

    def __init__(
        self, transfer: _Transfer, start: int, stop: int, *, began: float = 0.0, pace: float = 0.0
    ) -> None:
        self.transfer = transfer
        self.start = self.position = start
        self.stop = self.reach = stop
        self.began = began
        self._pace = pace
        """Seconds for a byte, as the stream that it was taken from needed."""
        self.is_tail = pace > 0
        self.ended = False

    @property
    def left(self) -> int:
        """The bytes still to come."""
        return self.stop - self.position

    def pace(self, now: float, patience: float) -> float:
        """Seconds for a byte; what is not known yet counts as fast."""
        waited = now - self.began
        return self._pace if waited < patience / 2 else waited / max(self.position - self.start, 1)

    def split(self, now: float, pace: float) -> _Stream:
        """Its second half, cut off at a frame's beginning."""
        middle = (self.position + self.left // 2) // FRAME * FRAME
        tail = _Stream(self.transfer, middle, self.stop, began=now, pace=pace)
        self.stop = middle
        return tail


class _Transfers:
    """What the workers share. `_turn` guards all streams and transfers."""

    def __init__(
        self, source: RangedSource, task: Task, pace: Pace, transfers: Iterable[_Transfer]
    ) -> None:
        self.news = Event()
        self.fetched = 0
        self._source = source
        self._task = task
        self._pace = pace
        self._turn = Condition()
        self._stopped = False
        self._running: list[_Stream] = []
        self._queue = deque(stream for transfer in transfers for stream in transfer.streams())

    def work(self) -> None:
        """Takes streams on until none is left, nor one to help with."""
        try:
            while stream := self._next():
                self._run(stream)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Lets every worker end soon."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def _next(self) -> _Stream | None:
        with self._turn:
            while not self._stopped:
                now = time.monotonic()
                if self._queue:
                    stream = self._queue.popleft()
                    stream.began = now
                elif not self._running:
                    return None
                elif (half := self._half(now)) is not None:
                    stream = half
                else:
                    self._turn.wait(max(self._pace.patience / 4, 0.01))
                    continue
                self._running.append(stream)
                return stream
            return None

    def _half(self, now: float) -> _Stream | None:
        """Half of the stream that would need the longest time, where that is long."""
        patience = self._pace.patience
        seconds = {
            stream: stream.left * stream.pace(now, patience)
            for stream in self._running
            if stream.transfer.shareable and not stream.ended and stream.left >= _SHORTEST
        }
        slowest = max(seconds, key=lambda stream: seconds[stream], default=None)
        if slowest is None or seconds[slowest] <= patience:
            return None
        slowest.transfer.open += 1
        slowest.transfer.pieces += 1
        return slowest.split(now, slowest.pace(now, patience))

    def _run(self, stream: _Stream) -> None:
        try:
            with closing(self._chunks(stream)) as chunks:
                for chunk in chunks:
                    self._take(stream, chunk)
                    if stream.ended:
                        break
        except RangeIgnored:
            if not self._given_back(stream):
                stream.transfer.again, stream.transfer.shareable = True, False
        except RegistryError:
            if not self._given_back(stream):
                raise
        self._ended(stream)

    def _chunks(self, stream: _Stream) -> Generator[bytes]:
        with self._turn:
            is_whole = stream.transfer.pieces == 1 and not stream.transfer.resumed
            stream.reach = stream.stop
        wanted = stream.transfer.wanted
        if is_whole:
            yield from self._source.blob(wanted.reference, wanted.blob)
        elif stream.left:
            place = (stream.start, stream.reach)
            yield from self._source.part(wanted.reference, wanted.blob, *place)

    def _take(self, stream: _Stream, chunk: bytes) -> None:
        """Writes what of a chunk is the stream's own; it has ended where that is not all."""
        with self._turn:
            start = stream.position
            chunk = chunk[: stream.left]
            stream.position += len(chunk)
        for tarball, section in stream.transfer.wanted.places:
            tarball.write(section, start, chunk)
        self._task.advance(len(chunk))
        with self._turn:
            self.fetched += len(chunk)
            was_cut = stream.stop < stream.reach and not stream.left
            stream.ended = was_cut or self._stopped or stream.transfer.again
        if start // FRAME < stream.position // FRAME or not stream.left:
            self.news.set()

    def _given_back(self, stream: _Stream) -> bool:
        """Whether the rest of a stream that was taken from another one is somebody's again.

        A registry may not have ranges, or not like many connections: then nobody helps any more.
        """
        if not stream.is_tail:
            return False
        with self._turn:
            transfer = stream.transfer
            transfer.shareable = False
            for other in self._running:
                reaches = other.stop == stream.position and other.reach >= stream.stop
                if other.transfer is transfer and reaches and not other.ended:
                    other.stop = stream.stop
                    return True
            transfer.open += 1
            self._queue.append(_Stream(transfer, stream.position, stream.stop))
            return True

    def _ended(self, stream: _Stream) -> None:
        """Checks the blob after the last of its streams, where no single stream was verified."""
        transfer = stream.transfer
        with self._turn:
            stream.ended = True
            transfer.open -= 1
            last = not transfer.open and not self._stopped
        in_pieces = transfer.resumed or transfer.pieces > 1
        if last and in_pieces and (transfer.again or not transfer.is_right()):
            transfer.forget()
            with self._turn:
                self._queue.extend(transfer.streams())
        with self._turn:
            self._running.remove(stream)
            self._turn.notify_all()


def _runs(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """The runs of neighbouring frames, each from its first byte to its last."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        start = frame.start
        if runs and runs[-1][1] == start:
            start, _ = runs.pop()
        runs.append((start, frame.stop))
    return runs
