"""What a script hands over: its curves, its last values, the end of its log; alone and beside a model's run."""

from __future__ import annotations

import json

import pytest

from hpcdl.report import metrics
from hpcdl.report.comparison import compare
from hpcdl.report.comparison_page import comparison_page
from hpcdl.report.page import report
from hpcdl.run import Run
from tests.report import made

pytestmark = pytest.mark.cases("F20")
LINES = [
    {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.45, "f1": 0.4},
    {"epoch": 2, "loss": 0.6, "accuracy": 0.7, "val_loss": 0.7, "val_accuracy": 0.65, "f1": 0.5},
    {"epoch": 3, "loss": 0.4, "accuracy": 0.8, "val_loss": 0.5, "val_accuracy": 0.75, "f1": 0.6},
    {"test_accuracy": 0.9412, "test_loss": 0.21},
]


def page_of(folder):
    return report(Run(folder)).replace("\u00a0", " ")


def test_page_shows_curves_and_last_values(tmp_path):
    page = page_of(made.script(tmp_path, lines=LINES))

    for title in ("Loss of training and validation", "Accuracy of training and validation", "F1"):
        assert f"<title>{title} over 3 epochs</title>" in page
    for name, text in (("test_accuracy", "94.12 %"), ("test_loss", "0.2100"), ("f1", "60.00 %")):
        assert f'<th scope="row">{name}</th><td>{text}</td>' in page
    assert (
        "still falling, from 0.7000 after epoch 2 to 0.5000 after epoch 3 (29 % lower). More epochs"
        in page
    )
    assert "early_stopping" not in page


def test_page_shows_log_end(tmp_path):
    log = "".join(f"line {n}\n" for n in range(1, 30)) + "Test accuracy: 0.94\n"

    page = page_of(made.script(tmp_path, log=log))

    assert "line 21\nline 22\n" in page
    assert "line 29\nTest accuracy: 0.94\n</pre>" in page
    assert "line 20\n" not in page


def test_script_without_metrics_is_quiet(tmp_path):
    page = page_of(made.script(tmp_path))

    assert "It is done: its script ended without an error." in page
    for heading in ("Training", "Test", "Last values", "End of the log", "Confidence"):
        assert f"<h2>{heading}</h2>" not in page
    assert "seed" not in page
    assert "validation_split" not in page


def test_no_sentence_without_validation(tmp_path):
    lines = [{"epoch": n, "loss": 1 / n} for n in range(1, 9)]

    page = page_of(made.script(tmp_path, lines=lines))

    assert "Loss of training over 8 epochs" in page
    assert "Over-fitting" not in page


def test_steps_can_be_the_axis(tmp_path):
    lines = [{"step": 100 * n, "loss": 1 / n, "learning_rate": 0.1} for n in range(1, 9)]

    page = page_of(made.script(tmp_path, lines=lines))

    assert "Loss of training over 8 steps" in page
    assert "Learning rate over 8 steps" in page
    assert ">step</text>" in page


def test_later_line_of_epoch_wins():
    lines = [
        {"epoch": 1, "loss": 1.0},
        {"epoch": 2, "loss": 0.9},
        {"epoch": 2, "loss": 0.5},
        {"test_accuracy": 0.9},
    ]
    lines += [{"epoch": 1, "val_loss": 1.2}]

    assert metrics.merged(lines) == [
        {"epoch": 1, "loss": 1.0, "val_loss": 1.2},
        {"epoch": 2, "loss": 0.5},
        {"test_accuracy": 0.9},
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": float("inf")}],
        [{"epoch": None, "loss": 1}, {"epoch": "two", "loss": True}],
        [
            {"epoch": 1, "loss": 1e300, "tiny": 1e-300, "zero": 0},
            {"epoch": 2, "loss": -1e300, "tiny": 2e-300},
        ],
        [{"epoch": n, "loss": 5} for n in range(5)],
        [{"<b>evil</b>": 1, "epoch": 1, "note": "text", "list": [1]}, {}],
        [{f"m{n}": n for n in range(300)}, {"epoch": 1.5, **{f"m{n}": n for n in range(300)}}],
        [{"epoch": 1, "fold": 1, "loss": 1.0}, {"epoch": 1, "fold": 2, "loss": 2.0}],
    ],
    ids=["not finite", "no places", "huge and tiny", "flat", "hostile", "many", "folds"],
)
def test_odd_script_metrics_are_harmless(tmp_path, lines, cli):
    folder = made.script(tmp_path, lines=lines)
    other = made.script(tmp_path, "other", LINES)

    assert cli("report", folder).code == 0
    assert cli("compare", folder, other, "--html", tmp_path / "c.html").code == 0
    json.loads(cli("compare", folder, other, "--json").out, parse_constant=pytest.fail)
    assert "<b>evil" not in (folder / "report.html").read_text() + (tmp_path / "c.html").read_text()


def test_damaged_lines_are_skipped(tmp_path):
    folder = made.script(tmp_path, lines=LINES)
    with (folder / "metrics.jsonl").open("ab") as stream:
        stream.write(b'not json\n[1, 2]\n\xff\xfe\n{"epoch": 4, "lo')

    assert "over 3 epochs" in page_of(folder)


def test_many_steps_give_small_page(tmp_path):
    """The curve is thinned; its highest and its last point stay."""
    lines = [
        {"step": n, "loss": 1.0 + (n % 7) + (50.0 if n == 12345 else 0)} for n in range(20_000)
    ]

    page = page_of(made.script(tmp_path, lines=lines))

    assert len(page) < 100_000
    thin = metrics.thinned(metrics.points(lines, "loss", "step"))
    assert len(thin) <= 1001
    assert max(thin, key=lambda point: point[1])[0] == 12345
    assert thin[-1] == (19_999.0, lines[-1]["loss"])


def test_final_nan_is_shown(tmp_path):
    page = page_of(
        made.script(
            tmp_path, lines=[*LINES[:3], {"epoch": 4, "loss": float("nan"), "val_loss": 0.4}]
        )
    )

    assert '<th scope="row">loss</th><td>not a number</td>' in page
    assert "The training loss is not a number (NaN or infinite) from epoch 4 on." in page


def test_result_names_the_last_values(tmp_path):
    """What hpcdl put into result.json counts, also where metrics.jsonl has gone."""
    folder = made.script(tmp_path)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(
        json.dumps(
            {
                **result,
                "metrics": {"f1": 0.5, "loss": None},
                "metrics_problems": ["line 4 is not JSON: '<b>'"],
            }
        )
    )

    page = page_of(folder)

    assert "metrics.jsonl: line 4 is not JSON: &#39;&lt;b&gt;&#39;" in page
    assert '<th scope="row">f1</th><td>50.00 %</td>' in page
    assert '<th scope="row">loss</th><td>not a number</td>' in page


def test_scripts_side_by_side(tmp_path):
    better = [{**line, "f1": 0.9} for line in LINES]
    runs = [Run(made.script(tmp_path, "s", LINES)), Run(made.script(tmp_path, "t", better))]

    compared = compare(runs)
    page = comparison_page(compared)

    rows = {row.name: row for row in compared.rows}
    assert rows["test accuracy"].values == [0.9412, 0.9412]
    assert rows["best validation"].values == [0.75, 0.75]
    assert rows["f1 (last)"].values == [0.6, 0.9]
    assert not any(row.best for row in compared.rows)
    assert compared.notes[0].startswith(
        "s and t are scripts: hpcdl does not know the data and the loss"
    )
    assert "Not comparable: hpcdl does not know the data and the loss of a script." in page
    assert "f1 of 2 runs over their epochs" in page


def test_script_next_to_model(tmp_path):
    """The same row for the same thing, and no page of the model's defaults."""
    settings = {"train": {"precision": "auto", "epochs": 7}}
    runs = [
        Run(made.script(tmp_path, lines=LINES)),
        Run(made.training(tmp_path, settings=settings)),
    ]

    compared = compare(runs)

    rows = {row.name: row for row in compared.rows}
    assert rows["test accuracy"].texts == ["94.12\u00a0%", "90.00\u00a0%"]
    assert rows["test loss"].values == [0.21, 0.3]
    assert rows["loss (last)"].values == [0.4, 0.5]
    assert set(compared.differences) == {
        "script",
        "data.name",
        "data.validation_split",
        "train.epochs",
    }
    assert compared.differences["train.epochs"] == [None, 7]
