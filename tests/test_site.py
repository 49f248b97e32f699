"""The documentation as a site: a dead link ends its build; it is readable offline, and on a phone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import Browser

pytestmark = pytest.mark.site
REPOSITORY = Path(__file__).parents[1]
PAGES = ("*.md", "docs/*.md", "[!.]*/README.md", "tests/*/README.md")
SOURCES = (*PAGES, "mkdocs.yml", "LICENSE", ".ci/site/*.*", "hpcdl/**/*.py")
# The elements that stick out of the window to the right, but for those that a scrolling box holds
STICKING_OUT = """[...document.querySelectorAll('body *')].filter(element => {
    const box = element.getBoundingClientRect(), scrolls = 'pre, .md-typeset__scrollwrap, .md-sidebar, .md-search';
    return box.width > 0 && box.right > innerWidth + 1 && !element.closest(scrolls);
}).map(element => element.outerHTML.slice(0, 120))"""
SEARCH = """(() => {
    document.querySelector('[data-md-toggle=search]').click();
    const field = document.querySelector('.md-search__input');
    field.value = 'preempted';
    field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
})()"""
RESULTS = "[...document.querySelectorAll('.md-search-result__item a')].map(link => link.href)"


def copy_sources(folder: Path) -> None:
    """Copy what the site is made of, so that a test can spoil it."""
    for pattern in SOURCES:
        for path in REPOSITORY.glob(pattern):
            target = folder / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a copy's site as `make docs` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=folder, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    copy_sources(folder)
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder / "build/site"


def pages_of(site: Path) -> list[Path]:
    """All pages, but for the one that only a web server shows."""
    return sorted(path for path in site.rglob("*.html") if path.name != "404.html")


@pytest.mark.parametrize(
    ("page", "line", "words"),
    [
        ("README.md", "[x](docs/nowhere.md)", "'docs/nowhere.md', but the target is not found"),
        ("docs/my-data.md", "[x](my-script.md#nowhere)", "does not contain an anchor '#nowhere'"),
        ("docs/my-data.md", "[x](#nowhere)", "there is no such anchor on this page"),
        ("docs/orphan.md", "# A page that the navigation leaves out", "not included in the \"nav\""),
        ("docs/api.md", "::: hpcdl.nothing", "hpcdl.nothing could not be found"),
    ],
    ids=["dead link", "anchor of a page", "own anchor", "orphan", "name of the API"],
)  # fmt: skip
def test_planted_fault_ends_the_build(tmp_path, page, line, words):
    copy_sources(tmp_path)
    with open(tmp_path / page, "a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")

    built = build(tmp_path)

    assert built.returncode != 0
    assert words in built.stderr


class Elements(HTMLParser):
    """Counts what a reader sees of a page's structure."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h1", "h2", "h3", "p", "ul", "ol", "li", "tr", "td", "pre"):
            self.counts[tag] += 1


def test_site_shows_same_as_forge(site):
    """Both read Markdown, but in two dialects: where these differ, a list is not a list on the site.

    The remedy: an empty line before a list, and four spaces before what belongs to its item.
    """
    from markdown_it import MarkdownIt  # where the site is not built, it is not there

    forge = MarkdownIt("commonmark").enable("table")
    for pattern in PAGES:
        for page in REPOSITORY.glob(pattern):
            if page.name == "api.md":
                continue  # its docstrings are on the site only
            name = page.relative_to(REPOSITORY).with_suffix(".html")
            html = (site / name.parent / name.name.replace("README", "index")).read_text()
            article = re.search(r"<article.*</article>", html, re.DOTALL)
            assert article is not None
            expected = Elements(forge.render(page.read_text())).counts
            assert Elements(article[0]).counts == expected, name


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_ask_nobody(browser: Browser, site, width):
    """Code and wide tables scroll in their own boxes, and nothing is loaded from elsewhere."""
    for page in pages_of(site):
        browser.open(page, width)

        assert browser.value("document.documentElement.scrollWidth") == width, page
        assert browser.value(STICKING_OUT) == [], page
        assert browser.complaints() == [], page
        assert [url for url in browser.requests() if not url.startswith(site.as_uri())] == [], page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_site_follows_the_readers_scheme(browser: Browser, site, scheme):
    browser.open(site / "index.html", 1280, scheme)

    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_search_works_in_files(browser: Browser, site):
    """No web server is needed, although browsers start no worker for a file."""
    browser.open(site / "index.html", 1280)
    browser.value(SEARCH)

    end = time.monotonic() + 60
    while not (links := browser.value(RESULTS)) and time.monotonic() < end:
        time.sleep(0.1)
    assert any("nothing-is-lost.html" in link for link in links)
