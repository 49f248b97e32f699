"""Prepares a prediction with the models of runs that are done: a run like any other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from hpcdl import local_machine
from hpcdl.cluster import load_cluster
from hpcdl.cluster.schema import Cluster
from hpcdl.contract.machine import cpus
from hpcdl.contract.predict_spec import Member, PredictSpec
from hpcdl.contract.version import __version__
from hpcdl.errors import HpcdlError, JobError, Problem, UserError
from hpcdl.files import write_text
from hpcdl.job import Job, Resources
from hpcdl.launch.command import read_plan
from hpcdl.mounts.gathering import Gather, Unseen
from hpcdl.planning import Plan, Predict
from hpcdl.planning.afterwards import plan_afterwards
from hpcdl.run import Run
from hpcdl.run.paths import RunPaths, code_folder, runs_root_of
from hpcdl.run.records import Manifest
from hpcdl.run.trained import Trained, require_alike, trained
from hpcdl.submission.create import new_run
from hpcdl.submission.images_to_predict import problems_of_folder
from hpcdl.submission.locate import without_container
from hpcdl.submission.prepare import Submission, batch_script
from hpcdl.usercode.freeze import code_sha

_SUFFIX = "-predict"


@dataclass(frozen=True)
class Wanted:
    """What is to be predicted, and how.

    Args:
        runs: whose models are used; of several the mean counts.
        folder: of the images.
        resources: how big the job is.
        backend: "slurm" or "local"; None for that of the first run.
    """

    runs: Sequence[Run]
    folder: str
    resources: Resources
    backend: str | None = None


def prepare_prediction(wanted: Wanted) -> Submission:
    """Decide everything about a prediction. Nothing is written to disk.

    Raises:
        JobError: a run's model cannot be used, or the folder cannot be predicted; all reasons.
        UserError: the plan of the first run cannot be used.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    folder = os.path.abspath(os.path.expanduser(wanted.folder))
    models = []
    for run in wanted.runs:
        model = trained(run, problems)
        if model is not None:
            models.append(model)
    require_alike(models, problems)
    if wanted.resources.gpus > 1:
        message = f"is {wanted.resources.gpus}; expected 0 or 1: a prediction uses one GPU at most"
        problems.append(Problem("--set", "resources.gpus", message))
    if wanted.resources.node_count.most > 1:
        message = f"is {wanted.resources.nodes}; expected 1"
        problems.append(Problem("--set", "resources.nodes", message))
    problems_of_folder(folder, problems, notes)
    if problems:
        raise JobError("hpcdl predict", problems)
    return _submission(wanted, models, folder, notes)


def _submission(
    wanted: Wanted, models: Sequence[Trained], folder: str, notes: list[str]
) -> Submission:
    first = models[0].run
    before = read_plan(first.paths)
    backend = wanted.backend or ("slurm" if first.paths.script.exists() else "local")
    program = Predict(reads=[*_folders_of(models), folder], folder=folder)
    name = f"{before.name}{_SUFFIX}"
    decided = plan_afterwards(before, name, program, wanted.resources)
    decided = _on_backend(decided, backend, first, notes)
    runs_root = runs_root_of(first.paths)
    paths = new_run(name, runs_root, in_slurm=backend == "slurm")
    sha = code_sha()
    code = str(code_folder(runs_root, sha))
    decided, unseen = _with_folder(decided, [str(paths.root), code])
    script = None
    if backend == "slurm":
        script = batch_script(decided, paths, code)
    return Submission(
        job=_job(decided, wanted.resources),
        plan=decided,
        spec=None,
        paths=paths,
        script=script,
        backend=backend,
        notes=notes,
        code_sha=sha,
        unseen=unseen,
        cluster=_cluster(decided, first),
        fill=_spec_writer(_spec(name, models, folder, decided)),
    )


def _folders_of(models: Sequence[Trained]) -> list[str]:
    """The runs' folders, and those of their user's files: of a trial these are its sweep's."""
    folders = []
    for model in models:
        paths = model.run.paths
        folders.append(str(paths.root))
        if not paths.user.is_relative_to(paths.root):
            folders.append(str(paths.user))
    return list(dict.fromkeys(folders))


def _on_backend(decided: Plan, backend: str, first: Run, notes: list[str]) -> Plan:
    """The plan as it is for SLURM; on this machine with its CPUs, and perhaps without a container.

    Raises:
        UserError: the run was not one of SLURM's.
    """
    if backend == "slurm":
        if decided.container is None or not decided.directives:
            raise UserError(
                f"{first.name} ran on a machine without SLURM, so that its plan does not say how"
                " SLURM is asked: --backend local"
            )
        return decided
    size = replace(decided.size, cpus=cpus())
    has_gpus = local_machine.visible_gpus(decided.gpu_vendor) > 0
    if size.gpus and not size.emulate_gpus and not has_gpus:
        notes.append("this machine has no GPU: the CPU predicts")
        size = replace(size, gpus=0)
    decided = replace(decided, size=size, scratch=None)
    message = without_container(decided)
    if message:
        notes.append(message)
        return replace(decided, container=None)
    return decided


def _with_folder(decided: Plan, own: Sequence[str]) -> tuple[Plan, list[Unseen]]:
    """The plan with the binds that show the images and where their links lead; what is unseen."""
    if decided.container is None or not isinstance(decided.program, Predict):
        return decided, []
    reads = [f"{folder}:{folder}:ro" for folder in [decided.data_root, *decided.program.reads]]
    gather = Gather(decided, [*own, *reads])
    gather.links_in(decided.program.folder, "FOLDER")
    container = replace(decided.container, shown=gather.shown.binds)
    return replace(decided, container=container), gather.shown.unseen


def _job(decided: Plan, resources: Resources) -> Job:
    """The job as job.yaml keeps it; `hpcdl predict` makes it, and no file."""
    image = decided.container.image if decided.container else "tensorflow"
    resources = replace(resources, cpus=decided.size.cpus, memory_gb=decided.size.memory_gb)
    return Job(
        name=decided.name,
        resources=resources,
        container=image,
        env=decided.environment.env,
        source="hpcdl predict",
        folder=os.getcwd(),
    )


def _cluster(decided: Plan, first: Run) -> Cluster:
    """The profile for the checks: the one that the run used, as far as it is still there.

    What the plan says counts.
    """
    profile = Cluster(name=decided.cluster, data_root=decided.data_root)
    with suppress(HpcdlError):
        profile = load_cluster(Manifest.read(first.paths).profile or decided.cluster)
    options = dict(decided.directives)
    if decided.container is not None:
        profile = replace(profile, binds=decided.container.binds, runtime=decided.container.runtime)
    return replace(
        profile,
        account=options.get("account"),
        partition=options.get("partition"),
        qos=options.get("qos"),
        clusters=options.get("clusters"),
    )


def _spec_writer(spec: PredictSpec) -> Callable[[RunPaths], None]:
    def write(paths: RunPaths) -> None:
        write_text(paths.prediction, spec.to_json())

    return write


def _spec(name: str, models: Sequence[Trained], folder: str, decided: Plan) -> PredictSpec:
    members: list[Member] = []
    for model in models:
        members += model.members
    return PredictSpec(
        name=name,
        folder=folder,
        classes=models[0].classes,
        members=members,
        gpus=decided.size.gpus,
        emulate_gpus=decided.size.emulate_gpus,
        hpcdl_version=__version__,
    )
