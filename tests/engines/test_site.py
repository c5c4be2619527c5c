"""The documentation as a site: built without a warning, and in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import process
from tests.engines.browser import Browser, Scheme
from tests.support.pages import LANGUAGES, SITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.netns import Namespace
    from tests.engines.parts.part import Shelf

ZENSICAL = Path(sys.executable).with_name("zensical")
HOMES = ("index.html", "zh/index.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built as `make site` builds it: a link that leads nowhere ends it."""
    docs = tmp_path_factory.mktemp("project") / "docs"
    built = shutil.ignore_patterns("site", ".cache")
    shutil.copytree(SITE, docs, symlinks=True, ignore=built)
    for language in LANGUAGES:
        command = (ZENSICAL, "build", "--strict", "--config-file", docs / f"{language}.yml")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return docs / "site"


@pytest.fixture(scope="module")
def served(
    site: Path, closed: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    log = tmp_path_factory.mktemp("log") / "log"
    server = (sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0")
    argv: tuple[str | Path, ...] = (*closed.prefix, *server, "--directory", site)
    running = process.start(argv, log, os.environ)
    said = re.compile(r"\((http://127.0.0.1:\d+/)\)")
    yield process.until(lambda: said.search(log.read_text()), running, log)[1]
    process.stop(running)


@pytest.fixture(scope="module")
def browser(bed: Shelf, closed: Namespace) -> Iterator[Browser]:
    with Browser.start(bed, closed) as running:
        yield running


def look(browser: Browser, served: str, name: str, width: int, scheme: Scheme) -> None:
    """Loads a page, which asks only its server, fits and has nothing to complain of."""
    browser.open(f"{served}{name}", width=width, scheme=scheme)
    asked = {address for address in browser.requests if not address.startswith(("data:", served))}
    assert not asked
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", HOMES)
def test_its_home_asks_nobody_and_has_the_colours_of_the_system(
    browser: Browser, served: str, name: str, width: int, scheme: Scheme
) -> None:
    look(browser, served, name, width, scheme)
    chosen = browser.value("document.body.dataset.mdColorScheme")
    assert chosen == {"light": "default", "dark": "slate"}[scheme]


def test_every_page_fits_a_phone(browser: Browser, served: str) -> None:
    for page in (SITE / LANGUAGES[0]).glob("*.md"):
        look(browser, served, f"{page.stem}.html", 390, "light")


def test_the_other_language_is_that_of_the_same_page(browser: Browser, served: str) -> None:
    browser.open(f"{served}gitlab.html", width=1280)
    address = "document.querySelector('a[hreflang=zh]').href"
    assert browser.value(address) == f"{served}zh/gitlab.html"
