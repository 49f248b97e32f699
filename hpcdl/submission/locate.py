"""Completes a plan with what only this machine's disk can say: packages, data, links, commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hpcdl import packages
from hpcdl.cluster.schema import Cluster
from hpcdl.contract.spec import DeviceSpec, RunSpec, SavingSpec, TestSpec
from hpcdl.contract.version import __version__
from hpcdl.job import Job
from hpcdl.job.from_run import FromRun, names_models
from hpcdl.mounts.gathering import Unseen
from hpcdl.mounts.needed import for_render, with_shown
from hpcdl.planning import Plan
from hpcdl.staging import set_path


@dataclass(frozen=True)
class Located:
    """A plan that can be rendered and started, and what was noticed on the way.

    Args:
        job: the job.
        plan: the plan, with the folder of its packages and with the binds that it needs.
        spec: the contract with the trainer; None for a script.
        unseen: what the container will not show.
        notes: what the user must hear before the job is sent.
    """

    job: Job
    plan: Plan
    spec: RunSpec | None
    unseen: list[Unseen] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def shown(self, own: Sequence[str], here: str | None = None) -> Located:
        """The same with the binds that links and the program's text ask for.

        Args:
            own: what is bound anyway, such as the run folder.
            here: the folder that the program starts in, where that is the user's own.
        """
        plan, unseen = with_shown(self.plan, self.job, self.spec, own, here)
        return replace(self, plan=plan, unseen=unseen)

    def shown_to_script(self, bundle: bool) -> Located:
        """The same for a batch script that hpcdl does not start itself.

        Args:
            bundle: whether the script lies in a folder with all that it needs.
        """
        plan, unseen = for_render(self.plan, self.job, self.spec, bundle)
        return replace(self, plan=plan, unseen=unseen)

    def require_packages(self) -> None:
        """Make sure that what the job needs besides its image is installed.

        Raises:
            UserError: it is not.
        """
        packages.require(self.plan)


def locate(job: Job, cluster: Cluster, decided: Plan, local: bool = False) -> Located:
    """Look at the disk for what a plan leaves open. Nothing is written.

    Args:
        job: the job.
        cluster: where it runs.
        decided: the plan of both.
        local: whether this machine runs it itself: without the container, if that is not here.
    """
    notes = []
    message = without_container(decided) if local else None
    if message:
        notes.append(message)
        decided = replace(decided, container=None)
    if decided.container is None and job.requirements:
        notes.append(
            f"{job.packages} counts in a container only: this machine's own packages are used"
        )
    return Located(job, packages.located(decided, cluster), run_spec(job, cluster), notes=notes)


def with_models(job: Job, cluster: Cluster, runs_dir: str | None = None) -> Job:
    """The job with the models of other runs that it names; see `other_runs.with_other_runs`."""
    if not names_models(job):
        return job
    from hpcdl.submission.other_runs import with_other_runs  # most jobs do without

    return with_other_runs(job, cluster, runs_dir)


def without_container(decided: Plan) -> str | None:
    """Why this machine runs the program without the plan's container; None where it does not."""
    from hpcdl import local_machine  # here: a batch script that is only printed does without

    if decided.container is None:
        return None
    lack = local_machine.lacking(decided, decided.container)
    if lack is None:
        return None
    return f"{lack}: running with this machine's own TensorFlow, without the container"


def run_spec(job: Job, cluster: Cluster) -> RunSpec | None:
    """The contract with the trainer, or None for a script. A staged set's name becomes its path."""
    if job.model is None or job.data is None or job.train is None:
        return None
    if isinstance(job.model, FromRun):
        raise ValueError("the run that the model starts from was not looked for")
    data = job.data
    if data.name is not None:
        data = replace(data, path=set_path(cluster.data_root, data.name))
    return RunSpec(
        name=job.name,
        data=data,
        model=job.model,
        train=job.train.for_gpus(job.resources.all_gpus),
        devices=DeviceSpec(gpus=job.resources.gpus, emulate=cluster.emulate_gpus),
        hpcdl_version=__version__,
        start=job.start,
        saving=SavingSpec(cluster.save_every_s, cluster.save_every_steps, cluster.keep_checkpoints),
        test=job.test or TestSpec(),
        export=job.export,
    )
