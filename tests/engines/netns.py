"""Network namespaces without a way out.

They have no name: a process holds each one, and when it ends, as it must when the test process
ends, the kernel removes the namespace with everything in it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.engines import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType


Kind = Literal["closed", "blackhole"]

LINK = "out"
"""The interface of a black hole that packets leave by."""

# Its name server is, like the addresses below, from a TEST-NET, and belongs to nobody.
_RESOLVER = Path(__file__).with_name("resolv.conf")

# The neighbour's MAC address is made up, so the other end of the pair drops what it gets, silently,
# as a firewall does.
_CLOSED = "ip link set lo up"
_BLACKHOLE = f"""{_CLOSED}
ip link add {LINK} type veth peer name void
echo 1 > /proc/sys/net/ipv6/conf/{LINK}/disable_ipv6
echo 1 > /proc/sys/net/ipv6/conf/void/disable_ipv6
ip addr add 192.0.2.2/24 dev {LINK}
ip link set void up
ip link set {LINK} up
ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev {LINK} nud permanent
ip route add default via 192.0.2.1 dev {LINK}"""


@dataclass
class Capture:
    """What left a black hole while it was watched."""

    packets: list[str] = field(default_factory=list)
    """One line a packet, in tcpdump's words; complete when the watch has ended."""


class Namespace:
    """A network namespace, as a context manager.

    `closed` has the loopback alone: every other address is refused at once. In a `blackhole`
    packets leave and nothing ever answers; so do name look-ups, in both. `names` are the loopback
    inside, whoever else has them.
    """

    def __init__(self, kind: Kind = "closed", names: Sequence[str] = ()) -> None:
        self.kind = kind
        self.names = names
        self.prefix: tuple[str, ...] = ()
        """What to put before a program's arguments to run it inside."""

    def __enter__(self) -> Self:
        script = _CLOSED if self.kind == "closed" else _BLACKHOLE
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-ec", f"{script}\necho ready\nexec cat"],
            stdin=subprocess.PIPE,  # `cat` ends with us, since nobody else holds this pipe
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise process.NotReadyError(f"a {self.kind} network namespace could not be made")
        # Not `ip netns exec`: it hides the cgroup mounts, and no daemon starts without them.
        self.prefix = (
            "nsenter",
            f"--net=/proc/{self._holder.pid}/ns/net",
            *("unshare", "--mount", "--", "sh", "-c"),
            'mount --bind "$0" /etc/resolv.conf && exec "$@"',
            str(_RESOLVER),
            *self._known_names(),
        )
        return self

    def _known_names(self) -> tuple[str, ...]:
        """What binds a hosts file of our own; it lies in memory and ends with the program."""
        if not self.names:
            return ()
        script = """
umask 022
mount -t tmpfs none /mnt
echo "127.0.0.1 localhost $0" > /mnt/hosts
mount --bind /mnt/hosts /etc/hosts
umount --lazy /mnt
exec "$@"
"""
        return "sh", "-ec", script, " ".join(self.names)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holder.communicate()

    def run(self, argv: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end; options as for `subprocess.run`, text by default."""
        options = {"text": True, "capture_output": "stdout" not in options, **options}
        return subprocess.run([*self.prefix, *map(str, argv)], check=False, **options)

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        """Note every IP packet that leaves this black hole while the context is open."""
        seen = Capture()
        argv = ("tcpdump", "-nlq", "--immediate-mode", "-Q", "out", "-i", LINK, "ip or ip6")
        with tempfile.TemporaryDirectory(prefix="bed-capture-") as folder:
            log = Path(folder, "tcpdump")
            watcher = process.start([*self.prefix, *argv], log, os.environ)
            try:
                process.until(lambda: "listening on" in log.read_text() or None, watcher, log)
                yield seen
            finally:
                process.stop(watcher)
                lines = log.read_text().splitlines()
                seen.packets += [line for line in lines if " IP" in line]
