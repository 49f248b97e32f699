"""Writes into a new trial's folder what its program reads."""

from __future__ import annotations

import shutil

from hpcdl.contract.spec import RunSpec
from hpcdl.errors import HpcdlError
from hpcdl.files import write_text
from hpcdl.launch.gpu_memory import share_of_trial
from hpcdl.launch.retry import say
from hpcdl.launch.trial_end import write_failed
from hpcdl.planning import Plan, Training
from hpcdl.run.paths import TrialPaths
from hpcdl.sweeps.folder import SweepPaths
from hpcdl.sweeps.missing import TrialFile
from hpcdl.sweeps.settings import SweepSettings
from hpcdl.sweeps.trial_spec import trial_spec


class TrialStart:
    """Makes the folders of a sweep's trials ready on this node.

    Args:
        paths: the sweep's.
        settings: the sweep's.
        plan: the sweep's.
    """

    def __init__(self, paths: SweepPaths, settings: SweepSettings, plan: Plan) -> None:
        self._paths = paths
        self._settings = settings
        self._plan = plan
        self._memory_mb = share_of_trial(plan, settings.trials_per_gpu)

    def prepare(self, trial: TrialFile) -> None:
        """Write what the program reads; all of it can be done twice.

        Raises:
            OSError: it cannot be read or written.
        """
        paths = self._paths.trial_run(trial.number)
        if isinstance(self._plan.program, Training):
            if not paths.spec.exists():
                self._write_spec(trial, paths)
            self._share_gpu(paths)
        elif self._paths.run.work.is_dir() and not paths.work.exists():
            aside = paths.root / ".work"
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(self._paths.run.work, aside, symlinks=True)
            aside.rename(paths.work)

    def _write_spec(self, trial: TrialFile, paths: TrialPaths) -> None:
        """Write the trial's run.json; if its values do not fit together, the trial has failed."""
        base = RunSpec.from_json(self._paths.run.spec.read_text(encoding="utf-8"))
        job_text = self._paths.run.job.read_text(encoding="utf-8")
        try:
            spec = trial_spec(base, job_text, trial.params, self._plan.data_root)
        except HpcdlError as error:
            say(f"trial {trial.number}: {error}")
            write_failed(paths, self._settings, "spec", str(error))
            return
        write_text(paths.spec, spec.to_json())

    def _share_gpu(self, paths: TrialPaths) -> None:
        """Write into a trial's run.json how much memory of this node's GPU it may take."""
        if self._memory_mb is None or not paths.spec.exists():
            return
        spec = RunSpec.from_json(paths.spec.read_text(encoding="utf-8"))
        spec.devices.memory_mb = self._memory_mb
        write_text(paths.spec, spec.to_json())
