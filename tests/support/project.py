"""A project whose images lie in memory: pushed, locked and exported on the spot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airgapbuild.baseline import read_baseline
from airgapbuild.bundle.packaging import DEFAULT_PACKAGING, Packaging
from airgapbuild.bundle.reader import Bundle, open_bundle
from airgapbuild.export import Exported, export
from airgapbuild.lockfile import write_lock
from airgapbuild.manifest import parse_manifest
from airgapbuild.progress import SILENT
from airgapbuild.resolve import resolve
from tests.support.memory import MemorySource

if TYPE_CHECKING:
    from airgapbuild.lockfile import Lock


@dataclass
class Project:
    """Pushes move tags; each `lock` pins what is there now."""

    folder: Path
    text: str
    source: MemorySource = field(default_factory=MemorySource)

    def lock(self) -> Lock:
        return resolve(parse_manifest(self.text.encode(), "m", folder=Path()), self.source)

    def lock_file(self) -> Path:
        path = self.folder / "airgapbuild.lock"
        write_lock(path, self.lock())
        return path

    def export(
        self, name: str, *against: Path, packaging: Packaging = DEFAULT_PACKAGING
    ) -> Exported:
        raw = packaging.layers == "compact"
        baseline = read_baseline(against, self.source, raw=raw, progress=SILENT)
        return export(
            self.lock(),
            self.source,
            self.folder / name,
            packaging=replace(packaging, against=baseline),
        )

    def bundle(self, name: str, *against: Path, packaging: Packaging = DEFAULT_PACKAGING) -> Bundle:
        self.export(name, *against, packaging=packaging)
        return open_bundle(self.folder / name)
