"""The report in a real browser: on a screen, on a phone, and printed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.browser import Browser, Scheme
from tests.support.program import airgapbuild
from tests.support.showcase import make_showcase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf


@pytest.fixture(scope="module")
def browser(bed: Shelf, closed: Namespace) -> Iterator[Browser]:
    with Browser.start(bed, closed) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on a bundle that says hostile things."""
    folder = tmp_path_factory.mktemp("report")
    old, new = make_showcase(folder)
    path = folder / "page.html"
    assert airgapbuild("report", new, "--since", old, "-o", path).returncode == 0
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_asks_for_nothing_and_has_nothing_to_complain_of(
    browser: Browser, page: Path, width: int, scheme: Scheme
) -> None:
    browser.open(page.as_uri(), width=width, scheme=scheme)
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.scripts.length + document.images.length") == 0
    # The style sheet counts, so its hash is the one that the page's policy names.
    ground = browser.value("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]


def test_what_is_added_to_it_does_not_run(browser: Browser, page: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged.html"
    added = "<script>document.title = 1</script><p style='color: red'><img src='a.png'></main>"
    forged.write_text(page.read_text().replace("</main>", added))
    browser.open(forged.as_uri(), width=360)
    assert browser.value("document.title") == "builders: transfer report"
    assert len(browser.complaints) == 3
    assert all("Content Security Policy" in complaint for complaint in browser.complaints)


def test_on_paper_it_is_light_and_every_digest_is_whole(
    browser: Browser, bed: Shelf, page: Path, tmp_path: Path
) -> None:
    browser.open(page.as_uri(), width=1280, scheme="dark")
    digests = browser.value("[...document.querySelectorAll('.digits')].map(d => d.textContent)")
    assert len(digests) > 60
    printed = tmp_path / "page.pdf"
    printed.write_bytes(browser.pdf())
    command = (bed.part("browser") / "bin" / "pdftotext", "-layout", printed, "-")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert text.count("\f") > 3
    # Where a column is narrow, a digest stands on two lines.
    for digest in digests:
        assert digest[-64:-32] in text
        assert digest[-32:] in text
    browser.call("Emulation.setEmulatedMedia", media="print")
    ground = browser.value("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
