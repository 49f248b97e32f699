"""The names of the files that the trainer writes into a run folder, and the host reads there.

Names never change: old runs keep theirs. `hpcdl.run.paths` and `hpcdl.trainer.files.rundir` make
paths of them.
"""

from __future__ import annotations

SPEC = "run.json"  # written by the host
PREDICTION = "predict.json"  # written by the host, of a prediction
STOP = "stop"  # a marker of the host: the program is asked to save and stop
METRICS = "metrics.jsonl"
HEARTBEAT = "heartbeat.json"
RESULT = "result.json"
FAILURE = "failure.json"
PREDICTIONS = "predictions.npz"
PREDICTIONS_CSV = "predictions.csv"  # of new images; so is the next
UNUSABLE_CSV = "unusable.csv"
FEATURES = "features.npz"
TEACHER = "teacher.npz"  # what the teacher of a distillation answers
SAMPLES = "samples.png"
CHECKPOINTS = "checkpoints"
MODEL = "model"
TENSORBOARD = "tensorboard"
LOGS = "logs"
EXPORT = "export"  # what the model is exported as: see `hpcdl.contract.export_kinds`
WORKERS = "workers"  # of several nodes: a folder for each but the first, named by its rank
FOLDS = "folds"  # of a cross-validation: one folder each, named by its number from 1


def noise_log(attempt: int) -> str:
    """The log of TensorFlow's own messages of an attempt (from 1), in the folder `LOGS`."""
    return "{}.tensorflow.log".format(attempt)
