"""Every path of a run folder, by name. No other file joins such paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hpcdl.contract import export_kinds, run_files

_CODE = ".code"
SWEEP = "sweep.json"  # by this file a folder is known as a sweep
TRIALS = "trials"
OPEN = "open"


@dataclass(frozen=True)
class RunPaths:
    """The files of the run folder ``root``: ``<runs_root>/<name>/<run_id>``."""

    root: Path

    # Written when the run is made
    @property
    def job(self) -> Path:
        """The job as it was resolved."""
        return self.root / "job.yaml"

    @property
    def plan(self) -> Path:
        """The plan, as JSON."""
        return self.root / "plan.json"

    @property
    def spec(self) -> Path:
        """The RunSpec that the trainer reads; a script job has none."""
        return self.root / run_files.SPEC

    @property
    def prediction(self) -> Path:
        """The PredictSpec of a prediction; only that has one."""
        return self.root / run_files.PREDICTION

    @property
    def manifest(self) -> Path:
        """Versions, hashes, the command line."""
        return self.root / "manifest.json"

    @property
    def user(self) -> Path:
        """The user's own files, as they were at submission."""
        return self.root / "user"

    # Written when it is submitted
    @property
    def script(self) -> Path:
        """The batch script that was sent."""
        return self.root / "script.sbatch"

    @property
    def submitted(self) -> Path:
        """Where it went: job id, backend, host."""
        return self.root / "submitted.json"

    @property
    def submitit(self) -> Path:
        """submitit's pickles; nobody else may read or write them."""
        return self.root / "submitit"

    @property
    def batch_log(self) -> Path:
        """The batch script's own output; %j is SLURM's job id."""
        return self.logs / "slurm-%j.out"

    @property
    def after(self) -> Path:
        """Which runs it comes after; most runs have none."""
        return self.root / "after.json"

    @property
    def followers(self) -> Path:
        """A line for each run that was sent to come after it."""
        return self.root / "followers.jsonl"

    @property
    def local_log(self) -> Path:
        """The worker's own output, of a run without SLURM."""
        return self.logs / "local.out"

    # Written by the job
    @property
    def attempts(self) -> Path:
        """A line at the start and the end of each attempt."""
        return self.root / "attempts.jsonl"

    @property
    def logs(self) -> Path:
        """A log for each attempt."""
        return self.root / run_files.LOGS

    def log(self, attempt: int) -> Path:
        """The log that a person reads."""
        return self.logs / f"{attempt}.log"

    def stdout_log(self, attempt: int) -> Path:
        """A script's stdout alone; it exists only if the script also wrote to stderr."""
        return self.logs / f"{attempt}.stdout.log"

    def stderr_log(self, attempt: int) -> Path:
        """A script's stderr alone; it exists only if the script wrote to it."""
        return self.logs / f"{attempt}.stderr.log"

    def noise_log(self, attempt: int) -> Path:
        """TensorFlow's own messages."""
        return self.logs / run_files.noise_log(attempt)

    def export_log(self, number: int) -> Path:
        """The log of an export after the run, numbered from 1."""
        return self.root / run_files.LOGS / f"export-{number}.log"

    @property
    def metrics(self) -> Path:
        """A line for each finished epoch; a script writes what it likes."""
        return self.root / run_files.METRICS

    @property
    def heartbeat(self) -> Path:
        """Where the trainer is now."""
        return self.root / run_files.HEARTBEAT

    @property
    def devices(self) -> Path:
        """What its GPUs, CPUs, memory and reading did over time: see `hpcdl.run.device_samples`."""
        return self.root / "devices.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The saved states: ``<step>.npz``."""
        return self.root / run_files.CHECKPOINTS

    @property
    def failure(self) -> Path:
        """Why the trainer gave up."""
        return self.root / run_files.FAILURE

    @property
    def result(self) -> Path:
        """How the run ended, with its scores."""
        return self.root / run_files.RESULT

    @property
    def model(self) -> Path:
        """The folder of the trained model."""
        return self.root / run_files.MODEL

    @property
    def export(self) -> Path:
        """The folder of what the model is exported as."""
        return self.root / run_files.EXPORT

    @property
    def export_table(self) -> Path:
        """A row for each kind that the model is exported as."""
        return self.export / export_kinds.TABLE

    def export_table_of(self, mean: str) -> Path:
        """The same of the mean of its model and others'; of itself, if the name is empty."""
        return self.export / mean / export_kinds.TABLE

    def export_of_mean(self, name: str) -> Path:
        """The folder of what the mean of this run's model and others' is exported as."""
        return self.export / name

    @property
    def predictions(self) -> Path:
        """The model's prediction for each test row; see the trainer's fit/predictions.py."""
        return self.root / run_files.PREDICTIONS

    @property
    def exported_model(self) -> Path:
        """The model for LiteRT, with weights of 32 bits."""
        return self.export / export_kinds.FILES["tflite"]

    @property
    def exported_about(self) -> Path:
        """What every program that uses an exported model must know."""
        return self.export / export_kinds.ABOUT

    @property
    def predictions_csv(self) -> Path:
        """What a prediction says of each image; see `hpcdl.contract.prediction_table`."""
        return self.root / run_files.PREDICTIONS_CSV

    @property
    def unusable_csv(self) -> Path:
        """Which files a prediction could not use, and why."""
        return self.root / run_files.UNUSABLE_CSV

    @property
    def tensorboard(self) -> Path:
        """Event files; see the trainer's files/tensorboard.py."""
        return self.root / run_files.TENSORBOARD

    @property
    def figures(self) -> Path:
        """The figures that a script or notebook showed; see the trainer's support/pictures.py."""
        return self.root / "figures"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.root / "report.html"

    @property
    def jupyter(self) -> Path:
        """The private folder of a notebook's token and address, while it runs."""
        return self.root / "jupyter"

    @property
    def jupyter_token(self) -> Path:
        """Who has it may use the notebook."""
        return self.jupyter / "token"

    @property
    def jupyter_address(self) -> Path:
        """Where the notebook answers; written once it does."""
        return self.jupyter / "address.json"

    @property
    def home(self) -> Path:
        """The program's home folder."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """A script's working directory, unless the job names another one."""
        return self.root / "work"

    def is_removed(self) -> bool:
        """Whether somebody removed the run; False if its whole file system may be away.

        hpcdl's own code in the same runs_root shows that the file system is there.
        """
        return not os.path.lexists(self.root) and (self.root.parent.parent / _CODE).is_dir()

    def shown(self) -> Path:
        """The folder that the container must see, and may write into."""
        return self.root

    # Of a cross-validation
    def fold(self, number: int) -> RunPaths:
        """One fold's folder, with the fold's metrics, checkpoints, result and predictions."""
        return RunPaths(self.root / run_files.FOLDS / str(number))

    def folds(self) -> list[RunPaths]:
        """The folds that were begun, in order."""
        numbers = [int(path.name) for path in (self.root / run_files.FOLDS).glob("[0-9]*")]
        return [self.fold(number) for number in sorted(numbers)]

    # Markers
    @property
    def stop(self) -> Path:
        """Exists when the program is asked to save and stop."""
        return self.root / run_files.STOP

    @property
    def cancelled(self) -> Path:
        """Exists when the user has cancelled the run, for good."""
        return self.root / "cancelled"

    def cancel_markers(self) -> list[Path]:
        """The files of which one exists when the run must not go on."""
        return [self.cancelled]

    def is_cancelled(self) -> bool:
        """Whether the run must not go on."""
        return any(marker.exists() for marker in self.cancel_markers())


class TrialPaths(RunPaths):
    """The files of a sweep's trial, whose folder ``root`` is ``<sweep>/trials/<number>``.

    All trials of a sweep have one job, plan and manifest, the same frozen files and one home. A
    trial's logs lie in its own folder, and an array's task writes its output for all its trials.
    """

    @property
    def sweep(self) -> RunPaths:
        """The files of the sweep, which is laid out as a run."""
        return RunPaths(self.root.parent.parent)

    @property
    def trial_file(self) -> Path:
        """The trial's number and parameters."""
        return self.root / "trial.json"

    @property
    def offer(self) -> Path:
        """Exists while the trial is offered again, to whichever task is free."""
        return self.sweep.root / OPEN / self.root.name

    @property
    def job(self) -> Path:
        """The sweep's job, without the trial's parameters."""
        return self.sweep.job

    @property
    def plan(self) -> Path:
        """The sweep's plan."""
        return self.sweep.plan

    @property
    def manifest(self) -> Path:
        """The sweep's manifest."""
        return self.sweep.manifest

    @property
    def user(self) -> Path:
        """The user's own files."""
        return self.sweep.user

    @property
    def script(self) -> Path:
        """The batch script of the sweep's tasks."""
        return self.sweep.script

    @property
    def submitted(self) -> Path:
        """Where the sweep's tasks went."""
        return self.sweep.submitted

    @property
    def submitit(self) -> Path:
        """A sweep has no pickles; this folder is missing."""
        return self.sweep.submitit

    @property
    def batch_log(self) -> Path:
        """The output of a task of an array; %j is its id, such as ``123_4``."""
        return self.sweep.logs / "%j.out"

    @property
    def logs(self) -> Path:
        """The folder of the logs: the trial's own."""
        return self.root

    def noise_log(self, attempt: int) -> Path:
        """TensorFlow's own messages, which the trainer keeps where every run has them."""
        return self.root / run_files.LOGS / run_files.noise_log(attempt)

    @property
    def home(self) -> Path:
        """The home of all trials."""
        return self.sweep.home

    def shown(self) -> Path:
        """The folder that the container must see, and may write into: the sweep's."""
        return self.sweep.root

    def cancel_markers(self) -> list[Path]:
        """The files of which one exists when the trial must not go on."""
        return [self.cancelled, self.sweep.cancelled]

    def is_removed(self) -> bool:
        """Whether somebody removed the trial, or the sweep."""
        return not os.path.lexists(self.root) and (self.sweep.root.parent.parent / _CODE).is_dir()


def sweep_of(paths: RunPaths) -> Path | None:
    """The folder of the sweep that a folder is, or whose trial it is; None for a plain run."""
    if isinstance(paths, TrialPaths):
        return paths.sweep.root
    return paths.root if (paths.root / SWEEP).exists() else None


def runs_root_of(paths: RunPaths) -> Path:
    """The folder of runs that a run lies in; for a trial, that of its sweep."""
    return (sweep_of(paths) or paths.root).parent.parent


def run_paths(root: Path) -> RunPaths:
    """The paths of a run folder, which may be a sweep's trial."""
    if root.parent.name == TRIALS and (root.parent.parent / SWEEP).exists():
        return TrialPaths(root)
    return RunPaths(root)


def holds_runs(folder: Path) -> bool:
    """Whether a folder is one of runs: hpcdl's own code is in it."""
    return any((folder / _CODE).glob("*/hpcdl"))


def code_folders(runs_root: Path) -> list[Path]:
    """The folders of hpcdl's own code, one for each version that a run was sent with."""
    return [path.parent for path in (runs_root / _CODE).glob("[!.]*/hpcdl")]


def code_folder(runs_root: Path, sha: str) -> Path:
    """Where hpcdl's own code of one version is kept for all runs that use it."""
    return runs_root / _CODE / sha
