"""What a batch script or a local run starts: submitit's worker.

In SLURM the pickle is loaded only if nobody else could have written it.

Loading a pickle runs what is in it, so this is looked at first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpcdl.files import others_could_write
from hpcdl.run import states
from hpcdl.run.paths import RunPaths
from hpcdl.run.result import Result
from hpcdl.run.tidying import tidy


def main(folder: str) -> None:
    """Load the job's pickle and run it.

    Args:
        folder: for submitit's pickles, in the run folder.

    Raises:
        SystemExit: with why the pickle is not loaded, or with `launch`'s own status.
    """
    in_slurm = os.environ.get("SUBMITIT_EXECUTOR") != "local"
    from submitit.core.job_environment import JobEnvironment
    from submitit.core.submission import process_job

    if sys.flags.no_user_site:
        # The Pythons that it starts must not look into ~/.local either
        os.environ["PYTHONNOUSERSITE"] = "1"
    os.environ["SUBMITIT_FOLDER"] = folder
    pickles = Path(folder)
    run = RunPaths(pickles.parent)
    if run.is_removed():
        sys.exit(f"hpcdl: {run.root} was removed: there is nothing to run")
    if not pickles.exists() and _is_done(run):
        sys.stdout.write("this run is done; nothing is started\n")
        return
    # The pickle comes last: submitit waits for it if it is missing, and by then nobody else can
    # put one there.
    for path in (pickles.parent, pickles, JobEnvironment().paths.submitted_pickle):
        why = others_could_write(path)
        if why and in_slurm:
            name = path.relative_to(pickles.parent.parent)
            todo = "See who changed what there, and submit the job again"
            sys.exit(f"hpcdl: {name} {why}: it is not run. {todo}")
    process_job(folder)
    tidy(run)


def _is_done(run: RunPaths) -> bool:
    """Whether a run has ended well: somebody has SLURM run its job again."""
    result = Result.read(run)
    return result is not None and result.state == states.DONE


if __name__ == "__main__":
    main(sys.argv[1])
