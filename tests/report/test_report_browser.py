"""The pages in a real headless Chromium: offline, in light, dark and print, on a phone's width and a desk's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpcdl.cli.report import write_page
from hpcdl.report.comparison import compare
from hpcdl.report.comparison_page import comparison_page
from hpcdl.report.page import report
from hpcdl.run import Run
from tests.report import made
from tests.report.conftest import change

pytestmark = pytest.mark.tensorflow
WIDTHS = (400, 1400)
NAMES = ("report", "compare", "script", "mixed")
# The elements that stick out of the window to the right, or out of their own box.
STICKING_OUT = """[...document.querySelectorAll('main *')].filter(element => {
    if (element.closest('.scroll') || element.closest('svg') && element.tagName !== 'svg') return false;
    return element.getBoundingClientRect().right > innerWidth + 0.5 || element.scrollWidth > element.clientWidth + 1
        && element.clientWidth > 0 && getComputedStyle(element).display !== 'inline';
}).map(element => element.outerHTML.slice(0, 120))"""
# Texts of a drawing that lie outside of it.
CUT_OFF = """[...document.querySelectorAll('figure > svg text')].filter(text => {
    const inner = text.getBoundingClientRect(), outer = text.closest('svg').getBoundingClientRect();
    return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.top < outer.top - 1;
}).map(text => text.outerHTML)"""
# WCAG's contrast of each kind of text against the paper: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio
CONTRAST = """[...document.querySelectorAll('h1, li, td, th, figcaption, .note, .badge, svg .end')].map(element => {
    const style = getComputedStyle(element), light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(x => x / 255).map(
            x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ink = light(element.closest('svg') ? style.fill : style.color);
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
})"""


@pytest.fixture(scope="module")
def pages(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run = Run(finished)
    lines = [
        {"epoch": n, "loss": 1 / n, "val_loss": 1.1 / n, "a_metric_with_a_long_name": n * 1e6}
        for n in range(1, 40)
    ]
    scripts = [
        Run(made.script(folder, name, lines, "log\n" * 20)) for name in ("small", "small-too")
    ]
    return {
        "script": write_page(folder / "script.html", report(scripts[0])),
        "mixed": write_page(folder / "mixed.html", comparison_page(compare([*scripts, run]))),
        "report": write_page(folder / "report.html", report(run)),
        "compare": write_page(folder / "compare.html", comparison_page(compare([run, run, run]))),
    }


@pytest.fixture(params=[20, 100])
def crowded(request: pytest.FixtureRequest, copied: Path, tmp_path: Path) -> Path:
    """A page with many classes whose names are long, each mistaken for others."""
    random, classes = np.random.default_rng(1), request.param
    labels = (np.arange(1000) % classes).astype(np.int32)
    probabilities = random.dirichlet(np.full(classes, 0.1), len(labels)).astype(np.float32)
    np.savez(copied / "predictions.npz", labels=labels, probabilities=probabilities)
    names = [f"A_CLASS_WITH_A_LONG_NAME_{n}" for n in range(classes)]
    change(
        copied, "result.json", data={"classes": classes, "class_names": names, "path": "/very" * 40}
    )
    return write_page(tmp_path / "crowded.html", report(Run(copied)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_page_loads_nothing_from_outside(browser, pages, name, scheme):
    """The page has no errors in the console and asks no server."""
    browser.open(pages[name], 1400, scheme)

    assert browser.complaints() == []
    assert browser.requests() == []
    assert "small" in browser.value("document.body.innerText")
    assert browser.value(
        "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_page_fits_each_width(browser, pages, name, width):
    browser.open(pages[name], width)

    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(STICKING_OUT) == []
    assert browser.value(CUT_OFF) == []


@pytest.mark.parametrize("name", NAMES)
def test_table_words_are_not_broken(browser, pages, name):
    """On a phone a wide table scrolls; its headings are not broken into letters."""
    browser.open(pages[name], 400)

    heights = browser.value(
        "[...document.querySelectorAll('.scroll th')].map(th => th.getBoundingClientRect().height)"
    )
    assert heights
    assert max(heights) < 45


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_fit_the_page(browser, crowded, width):
    browser.open(crowded, width)

    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(STICKING_OUT) == []
    assert browser.value(CUT_OFF) == []


def test_drawings_are_visible_and_named(browser, pages):
    browser.open(pages["report"], 1400)

    shapes = "[...document.querySelectorAll('svg[role=img]')].map(svg => svg.getBoundingClientRect().height)"
    heights = browser.value(shapes)
    assert len(heights) == 6  # loss, accuracy, matrix, confidence, time, seconds of epochs
    assert min(heights) > 10
    tree = browser.ask("Accessibility.getFullAXTree")["nodes"]
    named = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "image"]
    assert len(named) >= 6
    assert all(named)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader(browser, pages, scheme):
    browser.open(pages["report"], 1400, scheme)

    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    contrasts = browser.value(CONTRAST)
    assert len(contrasts) > 50
    assert min(contrasts) >= 4.5  # WCAG's level AA


def test_print_is_black_on_white(browser, pages):
    browser.open(pages["report"], 800, "dark", "print")

    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 8


def test_hostile_page_runs_nothing(browser, copied, tmp_path):
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    change(
        copied, "result.json", data={"class_names": [evil, evil, evil]}, devices={"names": [evil]}
    )
    path = write_page(tmp_path / "page.html", report(Run(copied)))

    browser.open(path, 1400)

    assert browser.value("document.title").startswith("small ")
    assert browser.value("document.scripts.length") == 0
    assert (browser.requests(), browser.complaints()) == ([], [])
    assert evil in browser.value("document.body.innerText")
