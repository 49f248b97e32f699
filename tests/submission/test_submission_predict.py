"""A prediction is prepared from what a done run left; all that is wrong is said at once, before the queue."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from hpcdl.cluster import load_cluster
from hpcdl.contract.predict_spec import PredictSpec
from hpcdl.errors import JobError, UserError
from hpcdl.files import write_json
from hpcdl.job import Resources, load_job
from hpcdl.job.sizes import resources_of
from hpcdl.launch.command import places_of, program_of, read_plan
from hpcdl.run import Run
from hpcdl.submission import create, send
from hpcdl.submission.predict import Wanted, prepare_prediction
from hpcdl.submission.prepare import prepare
from tests.submission.conftest import JOB, PROFILE, RESULT, png

SMALL = Resources(gpus=0)


def test_plan_is_that_of_the_run(done, images):
    run = done()

    prepared = prepare_prediction(Wanted([run], str(images), SMALL))

    plan, before = prepared.plan, read_plan(run.paths)
    assert prepared.backend == "slurm"
    assert prepared.paths.root.parent == run.paths.root.parents[1] / "hands-predict"
    assert before.container is not None
    assert plan.container == replace(before.container, nv=False, shown=[])
    assert plan.program.reads == [str(run.paths.root), str(images)]
    assert plan.environment == before.environment
    options = dict(plan.directives)
    assert (options["account"], options["qos"]) == ("nct00", "normal")
    assert (options["constraint"], options["time"]) == ("h100", "01:00:00")
    assert (options["nodes"], options["cpus-per-task"]) == ("1", "40")
    assert "gres" not in options
    assert plan.size.gpus == 0


def test_one_gpu_is_asked_for_as_the_run_did(done, images):
    size = resources_of(["resources.gpus=1", "resources.time=00:20:00", "resources.cpus=8"], "t")

    prepared = prepare_prediction(Wanted([done()], str(images), size))

    options = dict(prepared.plan.directives)
    assert (options["gres"], options["cpus-per-task"], options["time"]) == (
        "gpu:1",
        "8",
        "00:20:00",
    )
    assert "--gres=gpu:1" in (prepared.script or "")
    assert "hpcdl.worker" in (prepared.script or "")


def test_folder_is_made_like_any_run(done, images):
    run = done()
    prepared = prepare_prediction(Wanted([run], str(images), SMALL))
    send.make_folder(prepared, ["hpcdl", "predict"])
    paths = prepared.paths

    plan = read_plan(paths)
    assert plan == prepared.plan
    assert json.loads(paths.plan.read_text())["program"]["kind"] == "predict"
    spec = PredictSpec.from_json(paths.prediction.read_text())
    assert spec.classes == ["cat", "dog"]
    places_of_models = [(member.run, member.user) for member in spec.members]
    assert places_of_models == [(str(run.paths.root), str(run.paths.user))]
    assert program_of(paths, plan)[1:] == ["-m", "hpcdl.trainer", "predict", str(paths.prediction)]
    places = places_of(paths, plan, "1")
    assert places.lifeline
    assert {f"{run.paths.root}:{run.paths.root}:ro", f"{images}:{images}:ro"} <= set(places.binds)
    made = Run(paths.root)
    assert made.is_prediction()
    assert not made.is_script()


@pytest.mark.parametrize(
    ("difference", "content", "file"),
    [
        (2e-6, b"TFL3", "export/model.tflite"),
        (2e-5, b"TFL3", ""),  # not the trained model's answers
        (None, b"TFL3", ""),  # not measured
        (2e-6, b"another", ""),
    ],
)
def test_export_that_agrees_is_used(done, images, difference, content, file):
    run = done()
    run.paths.export.mkdir()
    row = {"kind": "tflite", "file": "model.tflite", "bytes": 4, "rows": 9}
    row.update(difference=difference, sha256=hashlib.sha256(b"TFL3").hexdigest())
    write_json(run.paths.export_table, {"schema_version": 1, "kinds": [row]})
    run.paths.exported_model.write_bytes(content)

    prepared = prepare_prediction(Wanted([run], str(images), SMALL))

    send.make_folder(prepared, ["hpcdl", "predict"])
    spec = PredictSpec.from_json(prepared.paths.prediction.read_text())
    assert [member.lite for member in spec.members] == [file]


def test_linked_images_are_not_forgotten(done, images, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").write_bytes(png())
    (images / "c.png").symlink_to(tmp_path / "elsewhere" / "c.png")

    prepared = prepare_prediction(Wanted([done()], str(images), SMALL))

    assert prepared.plan.container is not None
    told = [*prepared.plan.container.shown, *(each.cause for each in prepared.unseen)]
    assert any(str(tmp_path / "elsewhere") in text for text in told)


def test_all_problems_come_at_once(done, images, tmp_path):
    data = {**RESULT["data"], "class_names": ["ant", "bee"]}
    other = done(data=data)
    wide = done(model={**RESULT["model"], "input": {"shape": [9, 9, 3], "range": [0, 255]}})
    lost = done()
    (lost.paths.root / "model/model.keras").unlink()
    code = done(model={**RESULT["model"], "needs": ["my/layers.py", "installed"]})
    failed = done(state="failed")
    newer = done()
    manifest = json.loads(newer.paths.manifest.read_text())
    write_json(newer.paths.manifest, {**manifest, "hpcdl": "99.1.0"})
    bare = done(model={**RESULT["model"], "file": 7})
    runs = [done(), other, wide, lost, code, failed, newer, bare]

    with pytest.raises(JobError) as caught:
        prepare_prediction(Wanted(runs, str(tmp_path / "no"), Resources(gpus=2, nodes=2)))

    texts = [str(problem) for problem in caught.value.problems]
    for words in (
        "its classes are ant, bee; expected those of",
        "takes images of 9x9x3; expected those of",
        "model.keras is gone",
        "needs my/layers.py, which is not in",
        "is failed; expected a run that is done",
        "was made by hpcdl 99.1.0",
        "saved no model",
        "resources.gpus: is 2; expected 0 or 1",
        "resources.nodes: is 2; expected 1",
        "no: does not exist; expected a folder",
    ):
        assert sum(words in text for text in texts) == 1, (words, texts)
    assert len(texts) == 10


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no files"),
        ({".hidden.png": png()}, "holds no files"),
        ({"a.png": b"", "b.txt": b"text"}, "holds 2 files, of which none is a JPEG or PNG"),
        ({"a.mp4": b"\0" * 50}, "of videos, the frames must be saved as images first"),
        ({"a.webp": b"RIFF\0\0\0\0WEBP"}, "hpcdl data pack converts other images"),
    ],
)
def test_folder_without_images_is_refused(done, tmp_path, files, words):
    folder = tmp_path / "new"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)

    with pytest.raises(JobError) as caught:
        prepare_prediction(Wanted([done()], str(folder), SMALL))

    assert words in str(caught.value)


def test_file_is_not_a_folder(done, images):
    with pytest.raises(JobError, match=r"is a file; expected a folder"):
        prepare_prediction(Wanted([done()], str(images / "a.png"), SMALL))


def test_folds_are_an_ensemble(done, images):
    scores = {"accuracy": 0.5, "rows": 9}
    both = {"validation": scores, "test": scores}
    folds = [{"fold": number, "epochs_run": 1, **both} for number in (1, 2)]
    run = done(cross_validation={"mean": both, "deviation": both, "folds": folds})
    for number in (1, 2):
        fold = run.paths.fold(number)
        (fold.root / "model").mkdir(parents=True)
        (fold.root / "model/model.keras").touch()
        write_json(fold.result, RESULT)

    prepared = prepare_prediction(Wanted([run], str(images), SMALL))
    send.make_folder(prepared, [])

    spec = PredictSpec.from_json(prepared.paths.prediction.read_text())
    assert [member.file for member in spec.members] == [
        "folds/1/model/model.keras",
        "folds/2/model/model.keras",
    ]
    assert {member.run for member in spec.members} == {str(run.paths.root)}


def test_path_with_a_colon_is_refused(done, tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())

    with pytest.raises(JobError, match="at which --bind splits"):
        prepare_prediction(Wanted([done()], str(folder), SMALL))


def test_other_files_are_announced(done, images):
    (images / "notes.txt").write_text("x")

    prepared = prepare_prediction(Wanted([done()], str(images), SMALL))

    assert any("1 of 3 files" in note for note in prepared.notes)


def test_scripts_and_sweeps_have_no_model(write_job, tmp_path, images):
    write_job("print(1)\n", "a.py")
    job = load_job(write_job("name: s\nscript: a.py\n"))
    prepared = prepare(job, load_cluster(str(PROFILE)), runs_dir=str(tmp_path / "runs"))
    create.create(prepared.paths, prepared.job, prepared.plan, None, ["hpcdl"])

    with pytest.raises(JobError, match="trained no model with hpcdl"):
        prepare_prediction(Wanted([Run(prepared.paths.root)], str(images), SMALL))


def test_gpu_needs_a_run_with_one(done, images):
    run = done(JOB.replace("gpus: 2", "gpus: 0"))

    with pytest.raises(UserError, match="ran without a GPU"):
        prepare_prediction(Wanted([run], str(images), Resources(gpus=1)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.epochs=3", "this command knows resources.KEY=VALUE alone"),
        ("resources.gpu=1", "unknown key"),
        ("resources.gpus=many", "resources.gpus"),
        ("resources.time=90", "HH:MM:SS"),
        ("resources", "expected key.path=value"),
    ],
)
def test_other_sets_are_refused(text, words):
    with pytest.raises(JobError) as caught:
        resources_of([text], "hpcdl predict")

    assert words in str(caught.value)


def test_default_size_has_no_gpu():
    assert resources_of([], "t", ["resources.gpus=0"]) == Resources(gpus=0)
    assert resources_of(["resources.gpus=1"], "t", ["resources.gpus=0"]).gpus == 1
