"""Everything that can go wrong, by what the user can do about it.

::

    AirgapbuildError
    ├── UsageError       2   the command line asks for something that makes no sense
    ├── ManifestError    3   airgapbuild.toml
    ├── LockError        4   airgapbuild.lock: missing, stale, edited, of another version
    ├── RegistryError    5   a registry or the way to it
    │   ├── PassingError         the same may go well in a moment
    │   └── RangeIgnored         a part was asked for, and the whole would come
    ├── IntegrityError   6   content is not what its digest or size says
    ├── BundleError      7   a bundle is incomplete or cannot be read
    ├── DaemonError      8   the Docker daemon
    ├── BuilderError     9   buildx or the builder
    └── SignatureError  10   a bundle is not signed as wanted, or older than wanted

An error has one line that says what and where, and mostly a hint: what to do. Documents and
bundles report all their problems at once, one a line. Exit code 0 is success and 1 a bug of ours.
Foreign exceptions are translated where their library is at home (`registry.transport`,
`engine.connection`), nowhere else.
"""

from __future__ import annotations

from typing import ClassVar


class AirgapbuildError(Exception):
    """The base of every error that a user is meant to see."""

    exit_code: ClassVar[int]
    kind: ClassVar[str]

    def __init__(self, *lines: str, hint: str | None = None) -> None:
        self.message = "\n".join(lines)
        super().__init__(self.message)
        self.lines = lines
        """What is wrong, one line for each problem."""
        self.hint = hint


class UsageError(AirgapbuildError):
    """The arguments do not fit together, or name what is not there or cannot be used."""

    exit_code = 2
    kind = "usage"


class ManifestError(AirgapbuildError):
    """airgapbuild.toml is missing, is not TOML or asks for what cannot be."""

    exit_code = 3
    kind = "manifest"


class LockError(AirgapbuildError):
    """airgapbuild.lock is missing, stale, edited, unreadable or newer than this program."""

    exit_code = 4
    kind = "lock"


class RegistryError(AirgapbuildError):
    """A registry could not be reached, refused, or does not have what was asked for."""

    exit_code = 5
    kind = "registry"

    def __init__(self, *lines: str, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(*lines, hint=hint)
        self.status = status
        """The HTTP status of the answer, None where no answer came."""


class PassingError(RegistryError):
    """A registry is busy, silent or cut off. Tried again; users see it when that has no end."""

    def __init__(
        self,
        *lines: str,
        hint: str | None = None,
        status: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(*lines, hint=hint, status=status)
        self.retry_after = retry_after
        """What the answer says of the next try, in the words of RFC 9110, section 10.2.3."""


class RangeIgnored(RegistryError):  # noqa: N818 - nothing has failed: the whole can be had
    """A host gives a blob as a whole only, not in parts."""


class IntegrityError(AirgapbuildError):
    """Bytes are not those that their digest and size name. Never retried elsewhere."""

    exit_code = 6
    kind = "integrity"


class BundleError(AirgapbuildError):
    """A bundle misses a file, has one too many, or cannot be parsed."""

    exit_code = 7
    kind = "bundle"


class DaemonError(AirgapbuildError):
    """The Docker daemon cannot be reached, is too old, or did not do what it was asked."""

    exit_code = 8
    kind = "daemon"


class BuilderError(AirgapbuildError):
    """Buildx is missing, or the builder does not start."""

    exit_code = 9
    kind = "builder"


class SignatureError(AirgapbuildError):
    """A bundle is not signed as its receiver wants it, is too old, or cannot be signed."""

    exit_code = 10
    kind = "signature"
