"""``python -m hpcdl.trainer.export RUN_JSON KIND...``: more kinds of runs that are done."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import List

from hpcdl.contract import run_files
from hpcdl.contract.errors import DataError, TrainingError
from hpcdl.contract.exit_status import EXIT_DONE, EXIT_SPEC
from hpcdl.contract.spec import RunSpec, SpecError
from hpcdl.trainer.dataset.load import load
from hpcdl.trainer.export.alone import alone
from hpcdl.trainer.files.rundir import RunDir
from hpcdl.trainer.runtime.log import be_patient, quiet_import, say, separate_noise

_NOISE = "export.tensorflow.log"


def main(argv: List[str]) -> int:
    """Export the model of a run, or the mean of the models of several.

    Args:
        argv: the path of a run.json, and the kinds. ``--mean NAME`` exports the mean of all
            ``--member RUN_JSON CODE`` into a folder of that name, next to what the run itself is
            exported as, and measures it on the run's images. CODE is where the member's user's
            files are, as in PYTHONPATH.

    Returns:
        the exit status, one of `hpcdl.contract.exit_status`. It is that of a success, too, if some
        kinds could not be made: export.json says why.
    """
    words = _words(argv)
    run_dir = RunDir(words.run_json)
    separate_noise(run_dir.path(run_files.LOGS, _NOISE))
    try:
        with alone(run_dir.run_json):
            _export(run_dir, words)
    except SpecError as error:
        print("error: {}".format(error), file=sys.stderr)
        return EXIT_SPEC
    except TrainingError as error:
        print("error: {}".format(error.message), file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


def _words(argv: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hpcdl.trainer.export", allow_abbrev=False)
    parser.add_argument("run_json")
    parser.add_argument("kinds", nargs="+")
    parser.add_argument("--mean", default="")
    parser.add_argument("--member", nargs=2, action="append", default=[])
    return parser.parse_args(argv)


def _export(run_dir: RunDir, words: argparse.Namespace) -> None:
    run = replace(_spec(run_dir), export=words.kinds)
    result = run_dir.read_result()
    dataset = load(run_dir.path(str(run.data.path)), run.data)
    if list(dataset.image_shape) != result["data"]["image_shape"]:
        message = "{} has images of {} now; the model was trained on {}"
        shapes = (list(dataset.image_shape), result["data"]["image_shape"])
        raise DataError(message.format(dataset.path, *shapes))
    with quiet_import():
        from hpcdl.trainer.dataset.source import Source
        from hpcdl.trainer.export import runs
        from hpcdl.trainer.export.members import Trained
        from hpcdl.trainer.session import export_images
    sources = Source(dataset.train), Source(dataset.test)
    images = export_images(dataset, sources, run.train.seed)
    if not words.mean:
        say("exporting {} as {}".format(run.name, ", ".join(words.kinds)))
        runs.export_run(run, run_dir, images, result, lambda kind: None)
        return
    members = []
    for run_json, code in words.member:
        member = RunDir(run_json)
        members.append(Trained(_spec(member), member.folder, member.read_result(), code))
    message = "exporting the mean of {} runs as {}"
    say(message.format(len(members), ", ".join(words.kinds)))
    folder = run_dir.path(os.path.join(run_files.EXPORT, words.mean))
    runs.export_mean(run, members, folder, images)


def _spec(run_dir: RunDir) -> RunSpec:
    with open(run_dir.run_json, encoding="utf-8") as file:
        return RunSpec.from_json(file.read())


if __name__ == "__main__":
    be_patient()
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # as in hpcdl.trainer.__main__
