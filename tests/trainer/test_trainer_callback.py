"""SaveAndStop in plain Keras scripts: Keras 3 on this machine, Keras 2 in the older image."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.trainer.conftest import IMAGES, REPOSITORY

pytestmark = pytest.mark.tensorflow

# Several attempts of small scripts, one after the other in one process; prints what each gave.
PROGRAM = """
import glob, json, os, pathlib, pickle, stat, sys, types
import numpy as np
import tensorflow as tf
from hpcdl.trainer import callback

keras, told = tf.keras, []
stop = pathlib.Path(os.environ["HPCDL_STOP_FILE"])
callback._LOOK_S = 0
callback._say = told.append
random = np.random.default_rng(1)
x, y = random.random((30, 4, 4), "f4"), random.integers(0, 3, 30)

def ask_in(epoch, batch):
    "Make the stop file in an epoch: before a batch, or at its end."
    def begin(number, logs=None):
        ask.epoch = number
    def look(number, logs=None):
        if (ask.epoch, number) == (epoch, batch):
            stop.touch()
    def end(number, logs=None):
        if (number, None) == (epoch, batch):
            stop.touch()
    ask = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_train_batch_begin=look, on_epoch_end=end)
    return ask

def attempt(folder, ask=(None, None), early=False, units=8, epochs=6, built=False, every_s=0.0):
    callback._used_folders.clear()
    stop.unlink(missing_ok=True)
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Input((4, 4))] if built else []
    layers += [keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.BatchNormalization()]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    also = []
    if early:  # the loss falls, so that the first epoch stays the best of a rising one
        also = [keras.callbacks.EarlyStopping("loss", patience=3, mode="max", restore_best_weights=True)]
    del told[:]
    seen = {"status": 0}
    try:
        history = model.fit(
            x, y, batch_size=10, epochs=epochs, shuffle=False, verbose=0, validation_data=(x[:20], y[:20]),
            callbacks=[*also, ask_in(*ask), callback.SaveAndStop(folder, also, every_s)],
        )
        seen["epochs"] = history.epoch
        seen["history"] = {name: [float(value) for value in values] for name, values in history.history.items()}
        seen["evaluated"] = [float(value) for value in model.evaluate(x, y, verbose=0)]
        seen["weights"] = [weight.tolist() for weight in model.get_weights()]
    except SystemExit as error:
        seen["status"] = error.code
    except (ValueError, callback.UnsafeStateError) as error:
        seen["error"] = str(error)
    seen["told"] = list(told)
    seen["states"] = sorted(os.path.basename(path) for path in glob.glob(folder + "/*.index")) if folder else []
    return seen

def tear(path):
    (data,) = glob.glob(path + ".data-*")
    os.truncate(data, os.path.getsize(data) // 2)

def no_pickles(data):
    raise AssertionError("a pickle was loaded")

def modes(folder):
    return sorted({oct(stat.S_IMODE(os.stat(path).st_mode)) for path in [folder] + glob.glob(folder + "/*")})

out = {}
os.umask(0o002)
loads, callback.pickle = pickle.loads, types.SimpleNamespace(loads=no_pickles)
out["whole"] = attempt("whole")
out["stopped"] = [attempt("stopped", ask) for ask in ((2, 1), (3, None), (None, None), (None, None))]
out["early whole"] = attempt("early whole", early=True, built=True)
out["early"] = [attempt("early", ask, early=True, built=True) for ask in ((1, None), (3, None), (None, None))]
out["no epoch"] = attempt("no epoch", (0, 1))
out["rarely"] = attempt("rarely", (2, None), every_s=1e9)
attempt("torn", (3, 0))
tear("torn/epoch-3")
out["torn"] = attempt("torn")
out["other"] = attempt("torn", units=9, built=True)
out["longer"] = attempt("stopped", epochs=7)
os.makedirs("full/epoch-2.index/in the way")
out["full"] = attempt("full", (3, None))
stop.unlink()
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
first = model.fit(x[:, 0], y, epochs=2, verbose=0, callbacks=[callback.SaveAndStop("one")])
second = model.fit(x[:, 0], y, epochs=3, verbose=0, callbacks=[callback.SaveAndStop("two")])
out["two"] = [first.epoch, second.epoch]
try:
    model.fit(x[:, 0], y, verbose=0, callbacks=[callback.SaveAndStop("one")])
except ValueError as error:
    out["same folder"] = str(error)
untracked = callback.SaveAndStop("untracked")
untracked.set_model(types.SimpleNamespace(optimizer=None))
try:
    untracked.on_train_begin()
except ValueError as error:
    out["untracked"] = str(error)
out["modes"] = modes("early")

# What an older version of this file left: its states were pickles.
callback.pickle.loads, serialize = loads, callback._Progress.serialize
callback._Progress.serialize = lambda progress: pickle.dumps(progress.value)
early = dict(early=True, built=True)
attempt("old", (1, None), **early)
os.chmod("old", 0o775)
out["old and open"] = attempt("old", **early)
os.chmod("old", 0o755)
for path in glob.glob("old/*"):
    os.chmod(path, 0o664)
out["old with open files"] = attempt("old", **early)
for path in glob.glob("old/*"):
    os.chmod(path, 0o644)
out["old"] = attempt("old", **early)
callback._Progress.serialize = serialize

os.environ["HPCDL_METRICS_FILE"] = "metrics.jsonl"
pathlib.Path("metrics.jsonl").write_text('{"epoch": 1, "lo')
attempt("measured", (2, 1))
attempt("measured", epochs=4)
callback.log_metrics(step=5, loss=np.float32(0.5), bad=float("nan"), word="x", count=3)
out["metrics"] = pathlib.Path("metrics.jsonl").read_text().splitlines()
out["default"] = callback.SaveAndStop().folder
print("RESULT", json.dumps(out))
"""


@pytest.fixture(
    scope="module", params=["host", pytest.param("tf2.11-py39", marks=pytest.mark.testbed)]
)
def seen(request, tmp_path_factory):
    """What each attempt gave."""
    folder = tmp_path_factory.mktemp("callback")
    (folder / "run").mkdir()
    enter = [
        "apptainer",
        "exec",
        "--userns",
        "--no-home",
        "--bind",
        str(REPOSITORY),
        "--bind",
        str(folder),
    ]
    python = [sys.executable]
    if request.param != "host":
        python = [*enter, "--pwd", str(folder), str(IMAGES / f"{request.param}.sif"), "python"]
    told = {
        "PYTHONPATH": str(REPOSITORY),
        "HPCDL_STOP_FILE": str(folder / "run/stop"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [*python, "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("RESULT ")[2])


def statuses(attempts):
    return [attempt["status"] for attempt in attempts]


def test_stopped_fit_equals_whole_fit(seen):
    """Stops in an epoch and at its end change neither weights nor history."""
    mid_epoch, epoch_end, last, again = seen["stopped"]
    assert statuses(seen["stopped"]) == [75, 75, 0, 0]
    assert mid_epoch["told"] == ["asked to stop: this epoch will begin again"]
    assert "goes on after epoch 2 of 6" in epoch_end["told"][0]
    assert epoch_end["told"][1] == "asked to stop: saved after epoch 4"
    for key in ("epochs", "history", "evaluated", "weights"):
        assert last[key] == again[key] == seen["whole"][key], key
    assert "training is over; remove it" in again["told"][0]


def test_last_two_states_are_kept(seen):
    assert seen["whole"]["states"] == ["epoch-5.index", "epoch-6.index"]


def test_stop_saves_between_regular_saves(seen):
    assert (seen["rarely"]["status"], seen["rarely"]["states"]) == (75, ["epoch-3.index"])


def test_epoch_longer_than_job_is_reported(seen):
    """No epoch was saved before the stop: the message advises shorter epochs."""
    assert (seen["no epoch"]["status"], seen["no epoch"]["states"]) == (75, [])
    assert "make epochs shorter: fit(steps_per_epoch=...)" in seen["no epoch"]["told"][1]


def test_early_stopping_remembers(seen):
    assert statuses(seen["early"]) == [75, 75, 0]
    whole, last = seen["early whole"], seen["early"][-1]
    assert whole["epochs"] == [0, 1, 2, 3]
    assert (last["epochs"], last["weights"]) == (whole["epochs"], whole["weights"])


def test_torn_state_falls_back_to_previous(seen):
    damaged, goes_on = seen["torn"]["told"]
    assert "epoch-3 is damaged" in damaged
    assert "goes on after epoch 2 of 6" in goes_on
    assert seen["torn"]["weights"] == seen["whole"]["weights"]


def test_state_of_another_model_is_refused(seen):
    assert "is the state of another model; remove it" in seen["other"]["error"]


def test_more_epochs_continue_from_end(seen):
    assert "goes on after epoch 6 of 7" in seen["longer"]["told"][0]
    assert seen["longer"]["epochs"] == [0, 1, 2, 3, 4, 5, 6]


def test_failed_save_does_not_end_training(seen):
    assert "epoch 2 cannot be saved, the one before still is" in seen["full"]["told"][1]
    assert seen["full"]["told"][2] == "asked to stop: saved after epoch 4"


def test_each_fit_has_own_folder(seen):
    assert seen["two"] == [[0, 1], [0, 1, 2]]
    assert "has served another fit" in seen["same folder"]
    assert "use an image with Keras 2, or 3.1 and newer" in seen["untracked"]


def test_state_lies_next_to_stop_file(seen):
    assert seen["default"].endswith("/run/state")


def test_state_is_not_a_pickle(seen):
    """The program of these tests refuses pickles; it does not read what a group can write."""
    assert seen["early"][-1]["weights"] == seen["early whole"]["weights"]
    assert seen["modes"] == ["0o600", "0o700"]


def test_old_private_pickle_is_read(seen):
    assert (seen["old"]["epochs"], seen["old"]["weights"]) == (
        seen["early whole"]["epochs"],
        seen["early whole"]["weights"],
    )


def test_old_shared_pickle_is_refused(seen):
    """State files of older versions are pickles: one that others can write is not loaded."""
    assert "old can be written by others (mode 775)" in seen["old and open"]["error"]
    assert "chmod -R go-w" in seen["old and open"]["error"]
    assert "can be written by others (mode 664)" in seen["old with open files"]["error"]


def test_epochs_become_metrics(seen):
    """A line for each epoch, also for a repeated one; half a line of a kill is ended first."""
    cut_off, *lines = seen["metrics"]
    rows = [json.loads(line) for line in lines]
    assert cut_off == '{"epoch": 1, "lo'
    assert [row.get("epoch") for row in rows] == [1, 2, 3, 4, None]
    assert set(rows[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}
    assert rows[-1] == {"step": 5, "loss": 0.5, "bad": None, "word": "x", "count": 3}


@pytest.mark.cases("fault 0")
@pytest.mark.parametrize(
    ("version", "times"),
    [("3.9.2", 1), ("3.6.0", 1), ("3.10.0", 0), ("3.15.1", 0), ("2.15.0", 0), (None, 0)],
)
def test_wrong_replica_metrics_are_reported(tf, monkeypatch, capsys, version, times):
    """Some versions of Keras count wrongly on several GPUs."""
    from hpcdl.trainer import callback

    monkeypatch.setattr(callback, "tf", SimpleNamespace(keras=SimpleNamespace(__version__=version)))
    for replicas in (1, 2):
        callback._warn_of_replicas(
            SimpleNamespace(distribute_strategy=SimpleNamespace(num_replicas_in_sync=replicas))
        )
    assert capsys.readouterr().out.count("counts wrongly on several GPUs") == times
