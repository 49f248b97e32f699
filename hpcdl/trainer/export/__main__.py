"""``python -m hpcdl.trainer.export RUN_JSON KIND...``: more kinds of a run that is done."""

from __future__ import annotations

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
    """Export the model of a run.

    Args:
        argv: the path of its run.json, and the kinds.

    Returns:
        the exit status, one of `hpcdl.contract.exit_status`. It is that of a success, too, if some
        kinds could not be made: export.json says why.
    """
    run_dir = RunDir(argv[0])
    separate_noise(run_dir.path(run_files.LOGS, _NOISE))
    try:
        with alone(run_dir.run_json):
            _export(run_dir, argv[1:])
    except SpecError as error:
        print("error: {}".format(error), file=sys.stderr)
        return EXIT_SPEC
    except TrainingError as error:
        print("error: {}".format(error.message), file=sys.stderr)
        return error.exit_status
    return EXIT_DONE


def _export(run_dir: RunDir, kinds: List[str]) -> None:
    with open(run_dir.run_json, encoding="utf-8") as file:
        run = replace(RunSpec.from_json(file.read()), export=kinds)
    result = run_dir.read_result()
    dataset = load(run_dir.path(str(run.data.path)), run.data)
    if list(dataset.image_shape) != result["data"]["image_shape"]:
        message = "{} has images of {} now; the model was trained on {}"
        shapes = (list(dataset.image_shape), result["data"]["image_shape"])
        raise DataError(message.format(dataset.path, *shapes))
    with quiet_import():
        from hpcdl.trainer.dataset.source import Source
        from hpcdl.trainer.export import exporting
        from hpcdl.trainer.session import export_images
    sources = Source(dataset.train), Source(dataset.test)
    images = export_images(dataset, sources, run.train.seed)
    say("exporting {} as {}".format(run.name, ", ".join(kinds)))
    exporting.export_run(run, run_dir, images, result, lambda kind: None)


if __name__ == "__main__":
    be_patient()
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # as in hpcdl.trainer.__main__
