"""What a fuzzing target is, and what must hold for each of its inputs."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airgapbuild.errors import AirgapbuildError

if TYPE_CHECKING:
    from collections.abc import Callable

JSON_WORDS: Final = (
    *(b'"', b'":', b"[", b"]", b"{", b"}", b"null", b"1e999", b"NaN", b"\\u0000", b"\\ud800"),
    *(b'"digest"', b'"size"', b'"mediaType"', b'"annotations"', b'"platform"', b'"subject"'),
    *(b'"manifests"', b'"layers"', b'"config"', b'"rootfs"', b'"diff_ids"', b'"urls"', b'"data"'),
    *(b"sha256:", b"application/vnd.oci.image.index.v1+json", b"attestation-manifest"),
    b"9" * 40,
)
"""What JSON documents of images consist of."""


def scratch() -> Path:
    """A folder for inputs that have to be files; it goes with the process."""
    folder = tempfile.mkdtemp(prefix="airgapbuild-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@dataclass(frozen=True)
class Target:
    """A reader that must take any bytes: to its end, or to an error that it documents."""

    name: str
    run: Callable[[bytes], object]
    """Reads an input, wrapped in what makes outer checks pass, such as sums."""
    seeds: tuple[bytes, ...]
    inputs: int
    """How many of a million are its share."""
    values: bool = False
    """Whether it parses a value, for which ValueError is the documented error."""
    words: tuple[bytes, ...] = ()
    """What to mix into inputs."""

    def check(self, data: bytes) -> bool:
        """Whether the reader took the input; raises what it must not raise."""
        try:
            self.run(data)
        except AirgapbuildError as error:
            assert error.lines  # noqa: PT017 - an error says something
            return False
        except ValueError:
            if not self.values:
                raise
            return False
        return True
