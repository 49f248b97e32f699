"""Job files that cannot be run: every problem at once, each with its place, its key and what was expected."""

from __future__ import annotations

import pytest

from hpcdl.errors import JobError, UserError
from hpcdl.job import load_job

MODEL = "name: a\ndata: {name: mnist}\nmodel: {name: mlp}\n"
SCRIPT = "name: a\nscript: a.py\n"


def row(text, *problems, sets=()):
    """A job file's text and sets, and its problems in order: (place, key, part of the message)."""
    return text, sets, problems


MISTAKES = {
    # What is there and what is not
    "empty": row(
        "",
        (":1", "name", "missing; expected the job's name"),
        (":1", "model", "missing"),
        (":1", "data", "missing"),
    ),
    "only-comment": row(
        "# nothing\n", (":1", "name", "missing"), (":1", "model", ""), (":1", "data", "")
    ),
    "list-at-top": row(
        "- name: a\n", (":1", "", "expected a section with the keys name, resources")
    ),
    "text-at-top": row("train it\n", (":1", "", "got 'train it'")),
    "unknown-key": row(
        MODEL + "resource: {gpus: 1}\n", (":4", "resource", "unknown key; did you mean resources?")
    ),
    "unknown-inner-key": row(
        MODEL + "train:\n  epoch: 3\n", (":5", "train.epoch", "did you mean epochs?")
    ),
    "unknown-far-key": row(
        MODEL + "zzz: 1\n", (":4", "zzz", "known are name, resources, container")
    ),
    "internal-key": row(MODEL + "folder: /tmp\n", (":4", "folder", "unknown key")),
    "script-and-model": row(
        SCRIPT + "data: {name: mnist}\nmodel: {name: mlp}\n",
        (":3", "data", "goes with a model; this job has a script"),
        (":4", "model", "goes with a model"),
    ),
    "script-and-train": row(SCRIPT + "train: {epochs: 3}\n", (":3", "train", "goes with a model")),
    "script-and-test": row(SCRIPT + "test: {attack: [0.1]}\n", (":3", "test", "goes with a model")),
    "attack-in-grey-levels": row(
        MODEL + "test:\n  attack: [0.1, 8]\n",
        (":5", "test.attack", "8 of 255 grey levels are 0.0314"),
    ),
    "model-and-args": row(
        MODEL + "args: [a]\nworkdir: .\nstop_signal: USR2\n",
        (":4", "args", "goes with a script"),
        (":5", "workdir", ""),
        (":6", "stop_signal", "goes with a script"),
    ),
    "model-no-data": row(
        "name: a\nmodel: {name: mlp}\n",
        (":1", "data", "missing; expected {name: ...}, {path: ...} or {function"),
    ),
    "data-no-model": row(
        "name: a\ndata: {name: mnist}\n", (":1", "model", "missing; expected a model with its data")
    ),
    "sweep-keys": row(
        MODEL + "sweep:\n  ower: {model.dropout: 0..0.5}\n  method: bayesian\n  trials: 0\n",
        (":5", "sweep.ower", "unknown key; did you mean over?"),
        (":6", "sweep.method", "expected one of grid, random, bayes, asha, hyperband"),
        (":7", "sweep.trials", "a whole number >= 1"),
    ),
    # Types and bounds
    "text-for-number": row(
        MODEL + 'train: {epochs: "5"}\n', (":4", "train.epochs", "a whole number >= 1; got '5'")
    ),
    "number-with-unit": row(
        MODEL + "resources: {gpus: 2x}\n", (":4", "resources.gpus", "whole number >= 0; got '2x'")
    ),
    "float-for-int": row(
        MODEL + "train: {epochs: 2.0}\n", (":4", "train.epochs", "a whole number >= 1; got 2.0")
    ),
    "zero-epochs": row(MODEL + "train: {epochs: 0}\n", (":4", "train.epochs", ">= 1; got 0")),
    "negative-gpus": row(
        MODEL + "resources: {gpus: -1}\n", (":4", "resources.gpus", ">= 0; got -1")
    ),
    "true-for-int": row(
        MODEL + "resources: {gpus: true}\n",
        (":4", "resources.gpus", "a whole number >= 0; got True"),
    ),
    "yes-for-bool": row(
        "name: a\ndata: {name: m}\nmodel: {name: mlp, batch_norm: yes}\n",
        (":3", "model.batch_norm", "expected true or false; got 'yes'"),
    ),
    "split-of-one": row(
        "name: a\nmodel: {name: mlp}\ndata:\n  name: m\n  validation_split: 1\n",
        (":5", "data.validation_split", "a number >= 0 and < 1; got 1"),
    ),
    "infinite": row(
        MODEL + "resources: {memory_gb: .inf}\n",
        (":4", "resources.memory_gb", "a number > 0; got inf"),
    ),
    "not-a-number": row(
        MODEL + "train: {optimizer: {learning_rate: .nan}}\n",
        (":4", "train.optimizer.learning_rate", "> 0; got nan"),
    ),
    "seed-too-large": row(
        MODEL + "train: {seed: 9999999999}\n", (":4", "train.seed", "<= 2147483647")
    ),
    "5000-digits": row(
        MODEL + f"train: {{seed: {'9' * 5000}}}\n", (":4", "train.seed", "a whole number >= 0")
    ),
    "tagged-as-number": row(
        MODEL + "train: {seed: !!int x}\n", (":4", "train.seed", "a whole number >= 0")
    ),
    "list-for-section": row(
        MODEL + "resources: [1]\n", (":4", "resources", "a section with the keys gpus, nodes, ti")
    ),
    "text-for-section": row(
        MODEL + "train: fast\n", (":4", "train", "expected a section with the keys epochs")
    ),
    "section-for-text": row(
        MODEL + "container: {a: b}\n", (":4", "container", "expected text; got {'a': 'b'}")
    ),
    "empty-value": row(MODEL + "container:\n", (":4", "container", "is empty; expected text")),
    "texts-for-numbers": row(
        "name: a\ndata: {name: m}\nmodel: {name: mlp, dense: [a]}\n",
        (":3", "model.dense", "a list of whole numbers >= 1; got ['a']"),
    ),
    "no-filters": row(
        "name: a\ndata: {name: m}\nmodel: {name: cnn, filters: []}\n",
        (":3", "model.filters", "at least one of whole"),
    ),
    # Names, and words from a list
    "name-with-space": row(
        "name: my run\ndata: {name: m}\nmodel: {name: mlp}\n",
        (":1", "name", "no space; got 'my run'"),
    ),
    "name-with-slash": row(
        "name: ../a\ndata: {name: m}\nmodel: {name: mlp}\n", (":1", "name", "got '../a'")
    ),
    "name-with-dash": row(
        "name: -a\ndata: {name: m}\nmodel: {name: mlp}\n", (":1", "name", "expected letters, digit")
    ),
    "name-too-long": row(
        f"name: {'a' * 101}\ndata: {{name: m}}\nmodel: {{name: mlp}}\n",
        (":1", "name", "at most 100"),
    ),
    "unknown-model": row(
        "name: a\ndata: {name: m}\nmodel: {name: cnnn}\n", (":3", "model.name", "did you mean cnn?")
    ),
    "model-not-named": row(
        "name: a\ndata: {name: m}\nmodel: {dense: [3]}\n",
        (
            ":3",
            "model",
            "expected {name: cnn|mlp|resnet}, {backbone: MobileNetV2|...}, {start: RUN} or {function",
        ),
    ),
    "schedule-name": row(
        "name: a\ndata: {name: m}\nmodel: {name: mlp}\ntrain: {schedule: {name: cosin}}\n",
        (
            ":4",
            "train.schedule.name",
            "expected one of constant, step, exponential, cosine, plateau; got 'cosin'; did you mean cosine?",
        ),
    ),
    "schedule-factor": row(
        "name: a\ndata: {name: m}\nmodel: {name: mlp}\ntrain: {schedule: {name: step, factor: 3}}\n",
        (":4", "train.schedule.factor", "expected a number >= 0 and <= 1; got 3"),
    ),
    "two-batch-sizes": row(
        MODEL + "train: {batch_size: 64, batch_size_per_gpu: 32}\n",
        (
            ":4",
            "train.batch_size_per_gpu",
            "is 32, and train.batch_size is 64: expected one of the two",
        ),
    ),
    "nodes-backwards": row(
        MODEL + "resources: {nodes: 4-2}\n",
        (
            ":4",
            "resources.nodes",
            "expected a whole number >= 1, or a range such as 2-4; got '4-2'",
        ),
    ),
    "nodes-none": row(
        MODEL + "resources: {nodes: 0}\n",
        (":4", "resources.nodes", "expected a whole number >= 1, or a range such as 2-4; got 0"),
    ),
    "batch-of-any-nodes": row(
        MODEL + "train: {batch_size_per_gpu: 32}\nresources: {nodes: 2-4}\n",
        (
            ":4",
            "train.batch_size_per_gpu",
            "is 32, and resources.nodes is 2-4: the batch would change with the nodes",
        ),
    ),
    "scaled-rate-of-fixed-batch": row(
        MODEL + "train: {scale_learning_rate: linear}\n",
        (
            ":4",
            "train.scale_learning_rate.rule",
            "batch_size does not grow with the GPUs; got 'linear'",
        ),
    ),
    "model-name-as-list": row(
        "name: a\ndata: {name: m}\nmodel: {name: [mlp]}\n",
        (":3", "model.name", "{function: package.module:function}"),
    ),
    "model-as-text": row("name: a\ndata: {name: m}\nmodel: cnn\n", (":3", "model", "got 'cnn'")),
    "function-without-colon": row(
        "name: a\ndata: {name: m}\nmodel: {function: build}\n",
        (":3", "model.function", "package.module:function"),
    ),
    "kernel-per-filter": row(
        "name: a\ndata: {name: m}\nmodel: {name: cnn, filters: [8, 8], kernel_size: [3, 3, 3]}\n",
        (":3", "model.kernel_size", "one for each of the 2 filters; got [3, 3, 3]"),
    ),
    "unknown-activation": row(
        "name: a\ndata: {name: m}\nmodel: {name: mlp, activation: rulu}\n",
        (":3", "model.activation", "one of relu, elu, selu"),
    ),
    "unknown-optimizer": row(
        MODEL + "train: {optimizer: sgdd}\n", (":4", "train.optimizer.name", "one of sgd, adam")
    ),
    "momentum-of-adam": row(
        MODEL + "train:\n  optimizer:\n    name: adam\n    momentum: 0.9\n    nesterov: true\n",
        (
            ":7",
            "train.optimizer.momentum",
            "expected none with adam (sgd and rmsprop take it); got 0.9",
        ),
        (":8", "train.optimizer.nesterov", "expected none with adam (only sgd takes it); got True"),
    ),
    "early-stopping-without-validation": row(
        MODEL + "train:\n  epochs: 9\n  early_stopping: {patience: 3}\n",
        (
            ":6",
            "train.early_stopping.monitor",
            "a metric without val_, or data.validation_split > 0; got 'val_loss'",
        ),
    ),
    "folds-and-a-split": row(
        "name: a\nmodel: {name: mlp}\ndata:\n  name: m\n  validation_split: 0.2\ntrain: {cross_validation: 5}\n",
        (
            ":5",
            "data.validation_split",
            "expected 0 with train.cross_validation, where each fold validates",
        ),
    ),
    "early-stopping-of-folds-by-unknown-metric": row(
        MODEL + "train: {cross_validation: 5, early_stopping: {monitor: val_auc}}\n",
        (
            ":4",
            "train.early_stopping.monitor",
            "one of loss, accuracy, val_loss, val_accuracy; got 'val_auc'",
        ),
    ),
    "early-stopping-by-unknown-metric": row(
        MODEL + "train:\n  early_stopping:\n    patience: 3\n    monitor: val_auc\n",
        (":7", "train.early_stopping.monitor", "validation_split > 0; got 'val_auc'"),
    ),
    "early-stopping-by-metric-of-no-such-model": row(
        MODEL + "train: {early_stopping: {monitor: auc}}\n",
        (":4", "train.early_stopping.monitor", "one of loss, accuracy; got 'auc'"),
    ),
    "early-stopping-either-way": row(
        "name: a\nmodel: {function: a:b}\ndata: {name: m}\ntrain:\n  early_stopping: {monitor: hinge}\n",
        (
            ":5",
            "train.early_stopping.mode",
            "min or max, as the name hinge does not say which is better; got 'auto'",
        ),
    ),
    "plateau-without-validation": row(
        MODEL + "train: {schedule: {name: plateau}}\n",
        (
            ":4",
            "train.schedule.monitor",
            "a metric without val_, or data.validation_split > 0; got 'val_loss'",
        ),
    ),
    "plateau-either-way": row(
        "name: a\nmodel: {function: a:b}\ndata: {name: m}\ntrain:\n  schedule: {name: plateau, monitor: hinge}\n",
        (
            ":5",
            "train.schedule.monitor",
            "whose name says which is better, such as loss, accuracy or auc; got 'hinge'",
        ),
    ),
    "xla-for-two-gpus": row(
        MODEL + "train: {jit: on}\nresources: {gpus: 2}\n",
        (":4", "train.jit", "expected auto or off with 2 GPUs: XLA compiles for one device"),
    ),
    "early-stopping-wrong-inside": row(
        MODEL + "train:\n  early_stopping: {patience: 0, mode: maximum, min_delta: -1}\n",
        (":5", "train.early_stopping.patience", ">= 1; got 0"),
        (":5", "train.early_stopping.min_delta", ">= 0; got -1"),
        (":5", "train.early_stopping.mode", "one of auto, min, max; got 'maximum'"),
        (":5", "train.early_stopping.monitor", "a metric without val_"),
    ),
    "early-stopping-as-word": row(
        MODEL + "train: {early_stopping: true}\n",
        (":4", "train.early_stopping", "expected a section with the keys monitor, patience"),
    ),
    "data-by-both": row(
        "name: a\nmodel: {name: mlp}\ndata: {name: m, path: x.npz}\n",
        (":3", "data", "expected one of name, path and function"),
    ),
    "data-args-alone": row(
        "name: a\nmodel: {name: mlp}\ndata: {name: m, args: {n: 1}}\n",
        (":3", "data.args", "expected none, as arguments go with data.function"),
    ),
    "data-function-no-colon": row(
        "name: a\nmodel: {name: mlp}\ndata: {function: my_data}\n",
        (":3", "data.function", "expected package.module:function; got 'my_data'"),
    ),
    "image-size-of-one": row(
        "name: a\nmodel: {name: mlp}\ndata: {name: m, image_size: [96]}\n",
        (":3", "data.image_size", "expected [height, width]; got [96]"),
    ),
    "augment-all-wrong": row(
        "name: a\nmodel: {name: mlp}\n"
        "data: {name: m, augment: [{flip: up}, {rotate: 200}, blur, {zoom: 1}, {flip: both}]}\n",
        (
            ":3",
            "data.augment[0]",
            "expected flip: one of horizontal, vertical, both; got {'flip': 'up'}",
        ),
        (":3", "data.augment[1]", "expected rotate: a number above 0 and up to 180"),
        (":3", "data.augment[2]", "expected one key and its value, such as rotate: 15"),
        (":3", "data.augment[3]", "expected zoom: a number above 0 and below 1"),
        (":3", "data.augment[4]", "expected flip: only once in the list"),
    ),
    "data-name-is-path": row(
        "name: a\nmodel: {name: mlp}\ndata: {name: d/x.npz}\n",
        (":3", "data.name", "a file goes under data.path"),
    ),
    "variable-with-dash": row(
        SCRIPT + "env: {A-B: c}\n", (":3", "env.A-B", "is not a variable's name")
    ),
    "variable-empty": row(SCRIPT + "env: {A: }\n", (":3", "env.A", "is empty; expected text")),
    "args-as-text": row(SCRIPT + "args: --fast\n", (":3", "args", "a list of texts; got '--fast'")),
    "nul-in-words": row(
        SCRIPT + 'args: [a, "b\\0"]\nenv: {A: "\\0"}\n',
        (":3", "args[1]", "cannot hold a NUL"),
        (":4", "env.A", "NUL"),
    ),
    "variables-of-hpcdl": row(
        SCRIPT + 'env: {HPCDL_STOP_FILE: /x, CUDA_VISIBLE_DEVICES: "0", CUDA: ""}\n',
        (":3", "env.HPCDL_STOP_FILE", "is set by hpcdl"),
        (":3", "env.CUDA_VISIBLE_DEVICES", "is set by hpcdl"),
    ),
    "limit-in-words": row(
        SCRIPT + 'env: {HPCDL_ALL_REDUCE_S: "120", HPCDL_STALL_S: "half an hour"}\n',
        (":3", "env.HPCDL_STALL_S", "expected seconds, such as"),
    ),
    "nul-in-key": row(SCRIPT + 'env: {"B\\0": c}\n', (":3", "env", "no key can be 'B\\x00'")),
    "half-a-character": row(
        SCRIPT + 'env: {A: "\\ud83d"}\n', (":3", "", "invalid Unicode character")
    ),
    "sbatch-letter": row(
        MODEL + "slurm: {p: gpu}\n", (":4", "slurm.p", "is not an sbatch option's long name")
    ),
    "sbatch-beginning": row(
        MODEL + "slurm: {parti: gpu}\n",
        (":4", "slurm.parti", "parti is short for partition; say partition in"),
    ),
    "sbatch-wait": row(
        MODEL + "slurm: {wait: true}\n", (":4", "slurm.wait", "hpcdl submit --wait")
    ),
    "sbatch-test": row(MODEL + "slurm: {test-only: }\n", (":4", "slurm.test-only", "hpcdl check")),
    "sbatch-option": row(
        MODEL + "slurm: {Mail_Type: END}\n", (":4", "slurm.Mail_Type", "is not an sbatch option's")
    ),
    "sbatch-line-break": row(
        MODEL + 'slurm: {comment: "a\\n#SBATCH --account=x"}\n',
        (":4", "slurm.comment", "cannot carry a line break"),
    ),
    "sbatch-backslash": row(
        MODEL + "slurm: {comment: 'a\\b'}\n", (":4", "slurm.comment", "a backslash or both kinds")
    ),
    "sbatch-both-quotes": row(
        MODEL + "slurm: {comment: a\"b'c}\n", (":4", "slurm.comment", "both kinds of quotes")
    ),
    "workdir-backslash": row(SCRIPT + "workdir: 'a\\b'\n", (":3", "workdir", "a backslash")),
    # Times
    "time-as-minutes": row(
        MODEL + "resources: {time: 12:30}\n", (":4", "resources.time", "got '12:30'")
    ),
    "time-as-number": row(
        MODEL + "resources: {time: 90}\n", (":4", "resources.time", '"HH:MM:SS" or "D-HH:MM:SS"')
    ),
    "time-of-nothing": row(
        MODEL + "resources: {time: 00:00:00}\n", (":4", "resources.time", "more than no time")
    ),
    "time-61-minutes": row(
        MODEL + "resources: {time: 01:61:00}\n", (":4", "resources.time", "got '01:61:00'")
    ),
    # Files
    "script-missing": row("name: a\nscript: b.py\n", (":2", "script", "there is no file ")),
    "script-other-kind": row(
        "name: a\nscript: job.yaml\n", (":2", "script", "a .py file or an .ipynb notebook")
    ),
    "script-is-folder": row("name: a\nscript: d.py\n", (":2", "script", "is a folder")),
    "signal-not-offered": row(
        SCRIPT + "stop_signal: TERM\n", (":3", "stop_signal", "one of USR1, USR2; got 'TERM'")
    ),
    "workdir-missing": row(SCRIPT + "workdir: nowhere\n", (":3", "workdir", "there is no folder ")),
    "files-missing": row(
        SCRIPT + "files:\n- a.py\n- b.txt\n- c.txt\n",
        (":5", "files[1]", "there is no file "),
        (":6", "files[2]", "there is no file "),
    ),
    "path-with-break": row(
        'name: a\nscript: "a\\nb.py"\n', (":2", "script", "cannot hold a line break")
    ),
    # YAML's traps
    "not-yaml": row(
        "name: a\nmodel: {name: mlp\ntrain: x\n",
        (":3", "", "this is not YAML: did not find expected"),
    ),
    "tab": row("name: a\ntrain:\n\tepochs: 3\n", (":3", "", "indented with spaces, never tabs")),
    "given-twice": row(MODEL + "name: b\n", (":4", "name", "given twice, first at ")),
    "two-documents": row(MODEL + "---\nname: b\n", (":4", "", "another document")),
    "alias-of-itself": row(
        MODEL + "train: &t {optimizer: *t}\n",
        (":4", "train.optimizer", "an alias that holds its"),
        (":4", "train.optimizer", "is empty"),
    ),
    "alias-of-nothing": row(MODEL + "train: *t\n", (":4", "", "undefined alias")),
    "merge-of-anchor": row(
        "name: a\ndata: {name: m}\nmodel: &m {name: mlp}\ntrain:\n  <<: *m\n",
        (":3", "train.name", "unknown key"),
    ),
    "number-as-key": row(MODEL + "1: 2\n", (":4", "1", "unknown key; known are")),
    "true-as-key": row(MODEL + "true: 2\n", (":4", "true", "unknown key; known are")),
    "on-for-bool": row(
        "name: a\ndata: {name: m}\nmodel: {name: mlp, batch_norm: on}\n",
        (":3", "model.batch_norm", "got 'on'"),
    ),
    "huge-number": row(
        MODEL + "resources: {memory_gb: 1e999}\n",
        (":4", "resources.memory_gb", "a number > 0; got inf"),
    ),
    "name-of-4-kB": row(
        f"name: {'x' * 4096}\ndata: {{name: m}}\nmodel: {{name: mlp}}\n",
        (":1", "name", "at most 100"),
    ),
    "merged-unknown-key": row(
        MODEL + "resources: &r {gpus: 1}\ntrain: {<<: *r}\n", (":4", "train.gpus", "unknown key")
    ),
    "merged-text": row(
        MODEL + "train:\n  <<: fast\n", (":5", "train.<<", "<< merges sections: expected *NAME")
    ),
    "merged-nothing": row(
        MODEL + "train:\n  <<:\n", (":5", "train.<<", "<< merges sections: expected *NAME")
    ),
    "merged-texts": row(
        MODEL + "train:\n  <<: [a, {epochs: 3}]\n", (":5", "train.<<", "<< merges sections")
    ),
    "merged-twice": row(
        MODEL + "train:\n  <<: {epochs: 3}\n  <<: {seed: 1}\n",
        (":6", "train.<<", "merged as <<: [*NAME, *NAME]"),
    ),
    "list-as-key": row(MODEL + "? [a]\n: b\n", (":4", "", "a key must be plain text")),
    "tag": row(
        "name: a\nscript: a.py\nargs:\n- !!python/name:os.system x\n",
        (":4", "args[0]", "is not used here"),
    ),
    "control-character": row(
        MODEL + "slurm: {a: b\x01}\n", ("", "", "control characters are not allowed")
    ),
    # --set
    "set-without-equals": row(
        MODEL, ("--set train.epochs", "", "expected key.path=value"), sets=["train.epochs"]
    ),
    "set-empty-part": row(
        MODEL, ("--set train..x=1", "", "expected key.path=value"), sets=["train..x=1"]
    ),
    "set-wrong-type": row(
        MODEL, ("--set train.epochs=x", "train.epochs", "got 'x'"), sets=["train.epochs=x"]
    ),
    "set-unknown": row(
        MODEL, ("--set trian.x=1", "trian", "did you mean train?"), sets=["trian.x=1"]
    ),
    "set-inside-text": row(
        MODEL, ("--set name.x=1", "name.x", "cannot be set inside 'a'"), sets=["name.x=1"]
    ),
    "set-not-yaml": row(MODEL, ("--set name=[a", "", "this is not YAML"), sets=["name=[a"]),
    "set-not-text": row(
        MODEL, ("--set name=\udcff", "", "is not UTF-8 text"), sets=["name=\udcff"]
    ),
    "set-over-file": row(
        MODEL + "train: {epochs: x}\n",
        ("--set train.epochs=0", "train.epochs", ">= 1; got 0"),
        sets=["train.epochs=0"],
    ),
    # All at once, in a form that a person can work through
    "eight-at-once": row(
        "name: a b\nresources:\n  gpus: x\n  time: 1h\n  nods: 1\nscript: b.py\nargs: {}\nenv: {1: x}\ntrain: 3\n",
        (":5", "resources.nods", "did you mean nodes?"),
        (":3", "resources.gpus", "got 'x'"),
        (":9", "train", "expected a section"),
        (":7", "args", "a list of texts; got {}"),
        (":9", "train", "goes with a model"),
        (":8", "env.1", "is not a variable's name"),
        (":1", "name", "got 'a b'"),
        (":4", "resources.time", "got '1h'"),
    ),
}


@pytest.fixture
def write(write_job, tmp_path):
    (tmp_path / "d.py").mkdir()
    (tmp_path / "a.py").write_text("print(1)\n")
    return write_job


@pytest.mark.parametrize(("text", "sets", "problems"), MISTAKES.values(), ids=MISTAKES)
def test_all_problems_are_reported(write, text, sets, problems):
    path = write(text)

    with pytest.raises(JobError) as caught:
        load_job(path, sets)

    found = caught.value.problems
    assert [(problem.where.removeprefix(str(path)), problem.key) for problem in found] == [
        (where, key) for where, key, _ in problems
    ]
    for problem, (_, _, part) in zip(found, problems, strict=True):
        assert part in problem.message
        assert "\n" not in str(problem)


def test_billion_laughs_refused(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

    with pytest.raises(JobError, match="far too many values") as caught:
        load_job(write("\n".join(lines)))

    assert len(str(caught.value)) < 5_000


DEEP = {
    "lists": "[" * 2000 + "]" * 2000,
    "lists, just": "[" * 60 + "]" * 60,
    "not closed": "[" * 2000,
    "mappings": "{a: " * 2000 + "}" * 2000,
    "blocks": "\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 1200)),
    "dashes": "\n" + "- " * 2000 + "a",
}


@pytest.mark.parametrize("value", DEEP.values(), ids=DEEP)
def test_deep_nesting_refused(write, value):
    """hpcdl's own limit speaks, whatever limit the installed PyYAML has."""
    with pytest.raises(JobError, match=r"job.yaml:\d+: .*far too deep"):
        load_job(write(MODEL + "x: " + value))


@pytest.mark.parametrize(
    "content", [b"name: \xe9t\xe9\n", "name: a".encode("utf-16")], ids=["latin-1", "utf-16"]
)
def test_job_in_other_encoding_refused(tmp_path, content):
    path = tmp_path / "job.yaml"
    path.write_bytes(content)

    with pytest.raises(JobError, match="is not UTF-8 text"):
        load_job(path)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nowhere.yaml", "there is no job file"),
        ("mnist_cn", "did you mean mnist_cnn?"),
        (".", "is a folder; expected a job file"),
        ("elsewhere/mnist_cnn.yaml", "there is no job file"),
        ("a" * 300, "there is no job file"),
    ],
    ids=["missing", "misspelt", "folder", "shipped-elsewhere", "too-long"],
)
def test_job_not_found(tmp_path, monkeypatch, name, part):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UserError, match=part.replace("?", r"\?")):
        load_job(name)


@pytest.mark.parametrize(
    "command", [("render",), ("submit", "--dry-run"), ("submit", "--backend", "local")], ids=str
)
def test_bad_job_creates_nothing(cli, write, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    path = write("name: a b\nscript: a.py\nargs: x\n")
    before = sorted(tmp_path.rglob("*"))

    answer = cli(
        *command, path, "--cluster", "generic", "--set", "resources.gpus=x", *_output(command)
    )

    assert answer.code == 2
    assert answer.out == ""
    assert f"{path}: 3 problems" in answer.err
    assert f"{path}:3: args: expected a list of texts; got 'x'" in answer.err
    assert (
        "--set resources.gpus=x: resources.gpus: expected a whole number >= 0; got 'x'"
        in answer.err
    )
    assert sorted(tmp_path.rglob("*")) == before


def _output(command):
    return ("-o", "out/") if command == ("render",) else ()


@pytest.mark.cases("C16")
@pytest.mark.parametrize(
    ("time", "form"),
    [
        ("01-00:00", '"1-00:00:00"'),
        ("2-00", '"2-00:00:00"'),
        ("0-4", '"04:00:00"'),
        ("2-12:30", '"2-12:30:00"'),
        ("7-0:0:0", '"7-00:00:00"'),
        ("12:30", '"00:12:30" or "12:30:00"'),
        ("90", '"01:30:00" or "3-18:00:00"'),
        ("4:0:0", '"04:00:00"'),
        ("01:61:00", '"02:01:00"'),
        ("1000:00:00", '"41-16:00:00"'),
        ("1-120:00:00", '"6-00:00:00"'),
        ("36h", '"1-12:00:00"'),
        ("2 days", '"2-00:00:00"'),
        ("30min", '"00:30:00"'),
        ("1h30m", '"01:30:00"'),
        ("1.5h", '"01:30:00"'),
        ("1d12h", '"1-12:00:00"'),
    ],
)
def test_times_name_the_form_to_write(tmp_path, time, form):
    """SLURM reads more forms than people read without a mistake."""
    (tmp_path / "a.yaml").write_text(MODEL)

    with pytest.raises(JobError) as caught:
        load_job(tmp_path / "a.yaml", [f"resources.time={time}"])
    (problem,) = caught.value.problems
    assert problem.message.endswith(f"got {time!r}: write {form}")


@pytest.mark.cases("C16")
@pytest.mark.parametrize("time", ["UNLIMITED", "infinite", "-1"])
def test_unlimited_times_are_refused(tmp_path, time):
    (tmp_path / "a.yaml").write_text(MODEL)

    with pytest.raises(JobError, match="hpcdl cluster show tells the longest"):
        load_job(tmp_path / "a.yaml", [f"resources.time={time}"])


@pytest.mark.cases("C15")
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{exclusive: yes}", "slurm.exclusive: is a flag: expected true or false, without quotes"),
        ("{exclusive: 'true'}", "slurm.exclusive: is a flag"),
        ("{hold: 1}", "slurm.hold: is a flag"),
        ("{spread-job: off}", "slurm.spread-job: is a flag"),
        ("{--exclusive: true}", "did you mean exclusive[?]"),
        ("{mail_type: END}", "did you mean mail-type[?]"),
        ("{C: a100}", "did you mean constraint[?]"),
        ("{--time: 5}", "say resources.time"),
        ("{mail-type: []}", "slurm.mail-type: expected text"),
        ("{constraint: [a, b]}", "slurm.constraint: expected text"),  # "and" or "or"?
        ("{exclude: gpu[01-03,07]}", r'needs quotes: "gpu\[01-03,07\]"'),
    ],
)
def test_invalid_sbatch_options_are_refused(tmp_path, written, message):
    (tmp_path / "a.yaml").write_text(f"{MODEL}slurm: {written}\n")

    with pytest.raises(JobError, match=message):
        load_job(tmp_path / "a.yaml")


@pytest.mark.cases("C11", "C8")
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("''", "is empty; expected a path"),
        ("'*.csv'", "without [*] and [?]; name each file, or their folder"),
        ("gone", "is a link to /nowhere/at/all, which is not there"),
        ("$(pwd)/x", "is for a shell, and no shell reads this"),
        ("'`pwd`/x'", "is for a shell"),
        ("$$/x", "is for a shell"),
        ("~nobody-has-this-name/x", "is nobody's home on this machine"),
    ],
)
def test_impossible_files_are_refused(tmp_path, written, message):
    (tmp_path / "gone").symlink_to("/nowhere/at/all")
    (tmp_path / "a.yaml").write_text(f"{MODEL}files: [{written}]\n")

    with pytest.raises(JobError, match=message):
        load_job(tmp_path / "a.yaml")


@pytest.mark.cases("C16")
@pytest.mark.parametrize("time", ["soon", "1:2:3:4", "-1:00:00", "0-0", "٣:00:00", "9" * 30])
def test_invalid_times_are_refused(tmp_path, time):
    (tmp_path / "a.yaml").write_text(MODEL)

    with pytest.raises(
        JobError, match=r"expected a time as \"HH:MM:SS\" or \"D-HH:MM:SS\"; got '.*'$"
    ):
        load_job(tmp_path / "a.yaml", [f"resources.time={time}"])


@pytest.mark.cases("C17")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("fm.py:build", "fm:build"),
        ("./fm.py:build", "fm:build"),
        ("lib/fm.py:build", "lib.fm:build"),
        ("lib.fm.build", "lib.fm:build"),
        ("fm:build()", "fm:build"),
    ],
)
def test_model_function_by_file_path(tmp_path, written, meant):
    """fm.py:build would be the module py in the package fm, and fail on the node."""
    (tmp_path / "a.yaml").write_text(
        f"name: a\ndata: {{name: x}}\nmodel: {{function: '{written}'}}\n"
    )

    with pytest.raises(JobError, match=rf"model\.function: expected .*; did you mean {meant}\?"):
        load_job(tmp_path / "a.yaml")
