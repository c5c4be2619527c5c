"""docs/en/report.webp, the README's picture of a report: on the bundle of `make demo`.

python3 -m tests.engines.report_picture
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.engines.bed import Bed
from tests.engines.browser import Browser
from tests.engines.bundles import make_bundle, manifest
from tests.engines.netns import Namespace
from tests.engines.registry import Registry, images
from tests.support.program import airgapbuild

PICTURE = Path(__file__).parents[2] / "docs" / "en" / "report.webp"


def draw(folder: Path) -> bytes:
    """The upper part of the page, as WebP."""
    bed = Bed.find()
    [busybox] = [n for n in images(bed) if n.startswith("library/busybox:") and "latest" not in n]
    with Registry.start(bed) as registry:
        bundle = make_bundle(folder, manifest(registry.address, busybox.rpartition(":")[2]))
    page = folder / "report.html"
    airgapbuild("report", bundle, "-o", page)
    with Namespace() as closed, Browser.start(bed, closed) as browser:
        browser.open(page.as_uri(), width=1100, height=1340)
        return browser.screenshot()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        PICTURE.write_bytes(draw(Path(name)))
