"""buildkitd.toml: since < values < certificates < registries < keys < checks.

`keys` has the tables as models, each key with the BuildKit that brought it (`since`); `registries`
what a manifest says of mirrors and what a lock does; `certificates` the CAs that travel along;
`checks` what a model cannot see: the pinned BuildKit, and other tables.
"""

from airgapbuild.buildkitd.keys import Buildkitd, LockedBuildkitd
from airgapbuild.buildkitd.registries import mirror

__all__ = ["Buildkitd", "LockedBuildkitd", "mirror"]
