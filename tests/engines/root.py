"""Programs run inside a root folder of the bed, such as another Python, as if it were the system.

What they write goes to a scratch folder; the bed's own stays as it is. The mounts are private to
the program and end with it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# The host's name servers, authorities and pip settings, so that PyPI is reached as on the host.
_FROM_HOST = ("/etc/resolv.conf", "/etc/ssl/certs", "/etc/pip.conf")

_ENTER = """
merged=$1/merged
mkdir -p "$1/upper" "$1/work" "$merged"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$merged"
shift 2
mount -t proc proc "$merged/proc"
mount --rbind /dev "$merged/dev"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$merged$1"; elif [ -e "$1" ]; then touch "$merged$1"; fi
  if [ -e "$1" ]; then mount --bind "$1" "$merged$1"; fi
  shift
done
shift
exec chroot "$merged" "$@"
"""


@dataclass(frozen=True)
class Root:
    """A root folder that programs are run in."""

    folder: Path
    scratch: Path
    """Takes what is written; kept from one run to the next, to be removed by its owner."""
    binds: tuple[Path, ...] = ()
    """Host files and folders that are seen inside under the same path."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a program's arguments to run it inside."""
        seen = (*_FROM_HOST, *map(str, self.binds))
        enter = ("unshare", "--mount", "--", "sh", "-euc", _ENTER, "sh")
        return (*enter, str(self.scratch), str(self.folder), *seen, "--")

    def run(self, argv: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end, in `/`; options as for `subprocess.run`, checked."""
        options = {"text": True, "capture_output": True, "check": True, **options}
        return subprocess.run([*self.prefix, *map(str, argv)], **options)  # noqa: PLW1510
