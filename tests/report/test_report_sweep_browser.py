"""A sweep's page in a real headless Chromium: on a phone and a desk, light, dark and print."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

from hpcdl.cli.report import write_page
from hpcdl.report.sweep_facts import read
from hpcdl.report.sweep_page import sweep_report
from tests.report.sweep_folders import accuracy, sweep
from tests.report.test_report_browser import CONTRAST, CUT_OFF, STICKING_OUT

WIDTHS = (360, 1200)
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
# Pairs of labels of parallel coordinates that lie on each other
OVERLAPPING = """[...document.querySelectorAll('figure > svg')].flatMap(svg => {
    const boxes = [...svg.querySelectorAll('text')].map(text => [text, text.getBoundingClientRect()]);
    return boxes.flatMap(([a, one], n) => boxes.slice(n + 1).filter(([b, other]) =>
        one.left < other.right - 1 && other.left < one.right - 1 &&
        one.top < other.bottom - 3 && other.top < one.bottom - 3
    ).map(([b]) => a.textContent + ' on ' + b.textContent));
})"""
MANY = {
    "train.optimizer.learning_rate": "log:1e-5..1",
    "train.optimizer.momentum": "0.5..0.999",
    "train.batch_size": "int:log:8..512",
    "train.label_smoothing": "0..0.2",
    "train.seed": "int:1..9",
    "train.warmup.rate": "0..1",
    "model.rate": "-1e6..1e6",
    "model.l2": "log:1.7e-8..1.3e-2",
    "model.dropout": "0..0.5",
    "model.dense": list(range(16, 640, 16)),
    "model.batch_norm": [True, False],
    "model.activation": ["relu", "an_activation_with_a_very_long_name", EVIL],
}
MEMORY = {"cause": "out_of_memory", "message": f"CUDA out of memory {EVIL}"}


def _sum(params, epoch):
    return len(str(params["model.activation"])) * 1e3 / epoch + params["model.dropout"]


def _diverging(params, epoch):
    rate = params["train.optimizer.learning_rate"]
    if rate > 0.03:
        return math.nan
    return 1e9 if rate > 0.02 else 1 - accuracy(params, epoch)


CASES: dict[str, dict[str, Any]] = {
    "usual": {"how": {"failing": {3: MEMORY, 9: {"cause": "user_code"}}, "running": (40, 41)}},
    "many": {
        "curve": _sum,
        "over": MANY,
        "method": "random",
        "epochs": 4,
        "metric": "a_metric_with_a_very_long_name_of_its_own",
        "trials": 30,
    },
    "single": {
        "curve": lambda params, epoch: params["model.dropout"] + epoch,
        "over": {"model.dropout": "0..0.5"},
        "method": "random",
        "epochs": 2,
        "trials": 12,
    },
    "first": {"method": "random", "epochs": 2, "trials": 1},
    "begun": {"method": "random", "how": {"only": 0}},
    "failed": {"trials": 3, "how": {"failing": dict.fromkeys(range(3), MEMORY)}},
    "diverged": {
        "curve": _diverging,
        "method": "random",
        "metric": "val_loss",
        "direction": "minimize",
        "epochs": 5,
    },
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    written = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        for name, changes in CASES.items():
            run = sweep(folder / name, **changes)
            written[name] = write_page(folder / f"{name}.html", sweep_report(read(run)))
    return written


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", CASES)
def test_sweep_page_fits_each_width(browser, pages, name, width):
    browser.open(pages[name], width)

    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(STICKING_OUT) == []
    assert browser.value(CUT_OFF) == []
    assert browser.value(OVERLAPPING) == []
    assert (browser.requests(), browser.complaints()) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sweep_colours_follow_the_reader(browser, pages, scheme):
    browser.open(pages["usual"], 1200, scheme)

    contrasts = browser.value(CONTRAST)
    assert len(contrasts) > 50
    assert min(contrasts) >= 4.5  # WCAG's level AA
    colours = browser.value(
        "['.trial.top', '.q0', '.q5', '.trial.pruned', '.trial.done', '.trial.running'].map("
        "kind => getComputedStyle(document.querySelector('figure > svg ' + kind)).stroke)"
    )
    assert len(set(colours)) == 6
    assert "none" not in colours


def test_sweep_drawings_are_named(browser, pages):
    browser.open(pages["usual"], 1200)

    tree = browser.ask("Accessibility.getFullAXTree")["nodes"]
    named = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") == "image"]
    assert "val_accuracy of 58 trials over epochs" in named
    assert "Parameters and val_accuracy of 56 trials" in named


def test_best_trial_lies_on_top(browser, pages):
    """In the parallel coordinates the last line is the best trial's, and it ends at the right."""
    browser.open(pages["usual"], 1200)

    last = "[...document.querySelectorAll('figure > svg')].at(-1).querySelectorAll('.trial')"
    assert browser.value(f"[...{last}].at(-1).classList.contains('top')")
    points = browser.value(f"[...{last}].at(-1).getAttribute('points')").split()
    assert len(points) == 5  # four parameters and the value
    assert points[-1].split(",")[0] == "446.0"


def test_hostile_sweep_runs_nothing(browser, pages):
    for name in ("many", "usual"):
        browser.open(pages[name], 1200)

        assert browser.value("document.title").startswith("mnist-sweep ")
        assert browser.value("document.scripts.length") == 0
        assert browser.value("document.images.length") == 0
        assert EVIL in browser.value("document.body.textContent")


def test_sweep_prints_black_on_white(browser, pages):
    browser.open(pages["usual"], 800, "dark", "print")

    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert 2 <= browser.pdf().count(b"/Type /Page\n") <= 8
