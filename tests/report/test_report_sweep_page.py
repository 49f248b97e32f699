"""A sweep's page: its figures are the folder's, its parts are there when they can be, and it is bounded."""

from __future__ import annotations

import json
import math
import os
import re
import statistics
from pathlib import Path

import pytest

from hpcdl.files import append_json_line, write_json
from hpcdl.report.sweep_curves import curves_drawing
from hpcdl.report.sweep_facts import read
from hpcdl.report.sweep_page import sweep_report
from hpcdl.report.sweep_tables import best_trials, cost, failures, rungs
from hpcdl.report.sweep_text import brief
from hpcdl.run import Run
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.state import SweepState
from tests.report import made
from tests.report.sweep_folders import accuracy, sweep

MEMORY = {"cause": "out_of_memory", "message": "CUDA out of memory: tried 4 GB"}
FAILING = {3: MEMORY, 9: MEMORY, 20: {"cause": "user_code", "message": "ValueError: no"}}


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """60 trials by ASHA: 3 fail, 2 still run."""
    how = {"failing": FAILING, "running": (40, 41)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        return sweep(tmp_path_factory.mktemp("usual"), how=how)


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return lambda *arguments, **changes: sweep(tmp_path, *arguments, **changes)


def results(run):
    """Each trial's result.json with its parameters, by number."""
    by_number = {}
    for folder in sorted((run.paths.root / "trials").iterdir()):
        result = folder / "result.json"
        if result.exists():
            params = json.loads((folder / "trial.json").read_text())["params"]
            by_number[int(folder.name)] = {**json.loads(result.read_text()), "params": params}
    return by_number


def text_of(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", page).replace("\u00a0", " ").replace("&nbsp;", " ")


def test_best_trials_are_the_folders(usual):
    done = {n: r for n, r in results(usual).items() if r["state"] == "done"}
    in_order = sorted(done, key=lambda number: -done[number]["value"])

    table = best_trials(read(usual), 20)

    assert [int(cells[0]) for cells in table.rows] == in_order
    assert table.header[:2] == ["trial", "val_accuracy"]
    for cells in table.rows:
        result = done[int(cells[0])]
        assert cells[1] == f"{100 * result['value']:.2f}\u00a0%"
        assert cells[2] == str(result["epoch"])
        rate = cells[table.header.index("learning_rate")]
        assert float(rate) == pytest.approx(
            result["params"]["train.optimizer.learning_rate"], rel=1e-3
        )


def test_states_and_cost_are_counted(usual):
    states = [result["state"] for result in results(usual).values()]
    seconds = sum(result.get("seconds", 0.0) for result in results(usual).values())

    rows = {cells[0]: cells for cells in cost(read(usual)).rows}

    assert int(rows["done"][1]) == states.count("done") > 1
    assert int(rows["pruned"][1]) == states.count("pruned") > 30
    assert (rows["failed"][1], rows["running"][1], rows["all"][1]) == ("3", "2", "60")
    assert float(rows["all"][-1]) == pytest.approx(seconds / 3600, abs=0.001)
    assert rows["running"][3] == "–"


def test_two_trials_share_a_gpu(make):
    run = make(trials=4, method="random", epochs=9, trials_per_gpu=2, gpus=1)

    rows = {cells[0]: cells for cells in cost(read(run)).rows}

    assert rows["all"][-1] == f"{4 * 90 / 2 / 3600:.3f}"


def test_rungs_show_who_was_pruned(usual):
    state = SweepState()
    state.refresh(SweepPaths(usual.paths.root))
    pruned = [r["epochs"] for r in results(usual).values() if r["state"] == "pruned"]

    table = rungs(read(usual))

    assert [cells[0] for cells in table.rows] == ["1", "3", "9"]
    for cells in table.rows:
        reached = state.rungs[int(cells[0])].values()
        values = [value for value in reached if value is not None]
        assert int(cells[1]) == len(values)
        assert int(cells[2]) == pruned.count(int(cells[0]))
        assert cells[3] == f"{100 * max(values):.2f}\u00a0%"
        assert cells[4] == f"{100 * statistics.median(values):.2f}\u00a0%"


def test_failures_by_cause(usual):
    listed = failures(read(usual))

    assert [(one.cause, one.count, one.numbers) for one in listed] == [
        ("out of memory", 2, "3, 9"),
        ("user code", 1, "20"),
    ]
    assert listed[0].message == MEMORY["message"]
    assert listed[1].hint.endswith("container")
    assert str(usual.paths.root / "trials" / "00020") in listed[1].hint


def test_page_has_all_parts(usual):
    page = sweep_report(read(usual))

    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Best trials",
        "Values",
        "Parameters",
        "What was pruned, and when",
        "Failures",
        "Cost",
        "What is searched",
        "Where and with what",
        "What was asked for",
    ]
    text = text_of(page)
    assert "learning_rate" in text
    assert "log:0.0001..0.1" in text
    assert "array 4711: 8 tasks, 8 at once" in text
    assert str(usual.paths.root) in text
    assert text.count("an epoch") == 0
    best = max(
        (r for r in results(usual).values() if r["state"] == "done"), key=lambda r: r["value"]
    )
    assert f"val_accuracy {100 * best['value']:.2f} %" in text


def test_curves_end_where_trials_were_stopped(usual):
    """Each trial with a curve has one; the dots of pruned trials lie at the epochs of the rungs."""
    page = sweep_report(read(usual))

    drawing = page[page.index("<title>val_accuracy of ") :]
    drawing = drawing[: drawing.index("</svg>")]
    ends = re.findall(r'<circle class="end-of (\w+)" cx="([0-9.]+)"', drawing)
    assert len(ends) == 57  # of 60, as 3 failed without a value
    assert len({x for kind, x in ends if kind == "pruned"}) == 3
    assert [kind for kind, _ in ends].count("running") == 2
    assert ends[-1][0] == "top"  # the best one lies on top
    assert drawing.count("<polyline") == 57


def test_same_folder_same_page(usual):
    pages = {re.sub("Written by .*", "", sweep_report(read(usual))) for _ in range(2)}

    assert len(pages) == 1


def test_reading_changes_nothing(usual):
    before = {path: path.lstat().st_mtime_ns for path in usual.paths.root.rglob("*")}

    sweep_report(read(usual))

    assert {path: path.lstat().st_mtime_ns for path in usual.paths.root.rglob("*")} == before


def test_brief_text_agrees(usual):
    lines = brief(read(usual))

    best = best_trials(read(usual), 1).rows[0]
    assert lines[0].startswith(f"The best is trial {best[0]}: val_accuracy ")
    assert lines[1] == "Of 60 trials: " + lines[1].partition(": ")[2]
    assert "2 running by its task's log" in lines[1]
    assert "FAILED: out of memory, trials 3, 9" in lines
    assert not any("\u00a0" in line for line in lines)


def test_lower_is_better(make):
    curve = lambda params, epoch: 10.0 * params["model.dropout"] + 1 / epoch  # noqa: E731
    run = make(curve, trials=20, method="random", epochs=3, metric="val_loss", direction="minimize")

    facts = read(run)

    values = [result["value"] for result in results(run).values()]
    assert facts.best[0].value == min(values)
    assert best_trials(facts, 1).rows[0][1] == f"{min(values):.4f}"
    assert brief(facts)[0].startswith("The best is trial")


def test_no_numbers_are_counted(make):
    """Trials that diverged have no value: they are not drawn, and the page says how many there are."""

    def curve(params, epoch):
        is_large = params["train.optimizer.learning_rate"] > 0.01
        return math.nan if is_large else accuracy(params, epoch)

    run = make(curve, trials=20, method="random")
    facts = read(run)

    without = [result for result in results(run).values() if result["value"] is None]
    assert 3 < len(without) < 12
    assert f"{len(without)} of them have no value of val_accuracy" in " ".join(brief(facts))
    assert f"{len(without)} trials wrote no value of the metric." in sweep_report(facts)
    assert "NaN" not in sweep_report(facts).replace("isNaN", "")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_trials_make_a_page(make, count):
    run = make(trials=10, method="random", epochs=3, how={"only": count})

    page = text_of(sweep_report(read(run)))

    assert f"{10 - count} not begun" in page
    assert ("No trial is done" in page) == (count == 0)
    assert ("Too few trials for this" in page) == (count > 0)
    assert "open" in page


def test_all_failed_says_why(make):
    spec = {"cause": "spec", "message": "the trial does not report the sweep's metric val_acc"}
    run = make(trials=4, how={"failing": dict.fromkeys(range(4), spec)})

    page = sweep_report(read(run))

    assert '<span class="badge failed">failed</span>' in page
    assert spec["message"] in page.replace("&#39;", "'")
    assert "spec: 4 trials" in page
    assert "<h2>Values</h2>" not in page


def test_pruned_only_sweep_has_no_best(make):
    """The trials that ended with a value are listed with their state as long as none is done."""
    run = make(trials=3, method="random", epochs=2)
    for number in range(3):
        path = run.paths.root / "trials" / f"{number:05d}" / "result.json"
        write_json(path, {**json.loads(path.read_text()), "state": "pruned"})
    logs = SweepPaths(run.paths.root).tasks
    for log in logs.iterdir():
        log.write_text(log.read_text().replace('"state": "done"', '"state": "pruned"'))

    table = best_trials(read(run), 5)

    assert [cells[1] for cells in table.rows] == ["pruned"] * 3
    assert brief(read(run))[0] == "No trial is done with a value of val_accuracy yet."


def test_end_missing_in_the_log(make):
    """A task that died between result.json and its log's line: the page knows the trial's end."""
    run = make(trials=3, method="random", epochs=2)
    for log in SweepPaths(run.paths.root).tasks.iterdir():
        lines = [line for line in log.read_text().splitlines() if '"event": "end"' not in line]
        log.write_text("".join(line + "\n" for line in lines))

    assert len(read(run).best) == 3


def test_damaged_line_is_told(make):
    run = make(trials=3, method="random", epochs=2)
    log = sorted(SweepPaths(run.paths.root).tasks.iterdir())[0]
    log.write_text("{broken\n" + log.read_text())

    page = text_of(sweep_report(read(run)))

    assert f"tasks/{log.name}, byte 0" in page
    assert "3 done" in page


def test_thousands_of_trials_are_bounded(make, monkeypatch):
    run = make(trials=700, epochs=27)
    opened = []
    usual_read = Path.read_text

    def noting(path, *arguments, **options):
        opened.append(path.name)
        return usual_read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", noting)

    page = sweep_report(read(run))

    assert len(page) < 400_000
    assert opened.count("metrics.jsonl") == 240
    text = text_of(page)
    assert "Of 700 trials 240 are drawn: the best 40, and others at equal distances." in text
    assert "Of 700 trials with a value 300 are drawn" in text
    assert "700 of 700" in text


def test_hidden_settings_stay_hidden(make):
    over = {"args.api_key": ["hunter2222", "hunter3333"], "args.lr": "log:1e-4..1e-1"}
    curve = lambda params, epoch: params["args.lr"]  # noqa: E731
    job = {"script": "train.py", "args": ["--api_key", "hunter2222"]}
    run = make(curve, over=over, trials=6, method="random", epochs=2, metric="score", job=job)

    page = sweep_report(read(run))

    assert "hunter" not in page
    assert "hunter" not in " ".join(brief(read(run)))
    assert "hunter2222" in sweep_report(read(run, shows_env=True))


def test_script_counts_its_steps(make):
    run = make(
        lambda params, epoch: params["args.lr"] + epoch,
        over={"args.lr": "0.1..0.9"},
        trials=3,
        method="random",
        epochs=4,
        metric="score",
    )
    plan = json.loads(run.paths.plan.read_text())
    write_json(run.paths.plan, {**plan, "script": "train.py"})
    for number in range(3):
        path = run.paths.root / "trials" / f"{number:05d}" / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.unlink()
        for line in lines:
            append_json_line(path, {"step": 100 * line["epoch"], "score": line["score"]})

    page = sweep_report(read(Run(run.paths.root)))

    assert "score of 3 trials over steps" in page
    assert ">400<" in page


def test_folds_are_drawn_by_their_mean(make):
    """A trial with a cross-validation has one curve: the mean over the folds that have the epoch."""
    run = make(lambda params, epoch: 0.5, trials=1, method="random", epochs=3)
    trial = run.paths.root / "trials" / "00000"
    (trial / "metrics.jsonl").unlink()
    for fold, values in ((1, [0.2, 0.4]), (2, [0.4])):
        (trial / "folds" / str(fold)).mkdir(parents=True)
        lines = []
        for epoch, value in enumerate(values, 1):
            line = {"epoch": epoch, "steps": 10 * epoch, "seconds": 1.0, "val_accuracy": value}
            lines.append(line)
        made.write_lines(trial / "folds" / str(fold) / "metrics.jsonl", lines)

    drawing = curves_drawing(read(run))

    assert drawing is not None
    points = re.findall(r'class="trial top" points="([^"]+)"', str(drawing["svg"]))[0].split()
    heights = [float(point.split(",")[1]) for point in points]
    labels = re.findall(r'y="([0-9.]+)">([0-9.]+) %<', str(drawing["svg"]))
    at = {float(text): float(y) - 4 for y, text in labels}
    assert heights == [pytest.approx(at[30.0], abs=0.1), pytest.approx(at[40.0], abs=0.1)]
