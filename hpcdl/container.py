"""Plan -> the command line that runs a program inside the container. Nothing else knows apptainer.

A command is a list of lines, each a list of words: a batch script prints the
lines, ``launch`` joins them to one argv. A word is text that is quoted where
it is printed, or `Shell`, which is bash already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcdl.errors import UserError
from hpcdl.mounts.binds import ordered
from hpcdl.planning import Plan

PACKAGES = "/opt/hpcdl/packages"  # where a job sees what was installed beside its image


class Shell(str):
    """A word of bash, printed as it is: ``Shell('"$PWD"')``."""


@dataclass(frozen=True)
class Places:
    """Where a run's things lie, seen from outside and inside alike (binds keep the paths).

    Each is a path, or `Shell` where only the node knows it. ``lifeline``: stdin is a pipe that nobody writes
    to, and whose end is launch's end. ``metrics_file``: where a script may write its metrics. ``passed``: the
    node's variables that enter, and their values. ``support``: the folder that holds the package
    ``hpcdl_support``, next to a frozen script.
    """

    workdir: str
    home: str
    stop_file: str
    pythonpath: str | None = None
    tmp: str | None = None
    binds: list[str] = field(default_factory=list)
    visible_devices: str | None = None
    attempt: str | None = None
    lifeline: bool = False
    metrics_file: str | None = None
    passed: dict[str, str] = field(default_factory=dict)
    support: str | None = None


def environment(plan: Plan, places: Places) -> dict[str, str]:
    """The variables the program sees: a private home and caches, what the profile passes on, the user's own, hpcdl's.

    HOME and KERAS_HOME lead Keras 2 and 3 to the staged sets and weights: both
    drop a folder that is not writable, so it is a home of the run's own. So are
    the caches, which an image may have elsewhere.
    """
    env: dict[str, str] = {
        "HOME": places.home,
        "KERAS_HOME": within(places.home, ".keras"),
        "XDG_CACHE_HOME": within(places.home, ".cache"),
        "MPLCONFIGDIR": within(places.home, ".config/matplotlib"),
        "CUDA_CACHE_PATH": within(places.home, ".nv/ComputeCache"),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if places.tmp is not None:
        env["TMPDIR"] = "/tmp"  # noqa: S108 - the run's own, bound there
    if places.support is not None:
        env["MPLBACKEND"] = "module://hpcdl_support.figures"
    env.update({**places.passed, **plan.env})
    if pythonpath := _pythonpath(plan, places):
        env["PYTHONPATH"] = pythonpath
    env["HPCDL_DATA_ROOT"] = plan.data_root
    env["HPCDL_STOP_FILE"] = places.stop_file
    if plan.script is None and plan.memory_gb:
        env["HPCDL_MEMORY_GB"] = f"{plan.memory_gb:g}"
    if places.attempt is not None:
        env["HPCDL_ATTEMPT"] = places.attempt
    if places.metrics_file is not None:
        env["HPCDL_METRICS_FILE"] = places.metrics_file
    if places.lifeline:
        env["HPCDL_LIFELINE"] = "stdin"
    if places.visible_devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = places.visible_devices
    return env


def _pythonpath(plan: Plan, places: Places) -> str:
    """hpcdl's own entries or those of the job's ``env``, then the job's folders and packages, then ``support``."""
    folders = [places.pythonpath or plan.env.get("PYTHONPATH"), *plan.pythonpath]
    folders += [PACKAGES if plan.overlay else None, places.support]
    entries = [folder for folder in folders if folder]
    if not any(isinstance(entry, Shell) for entry in entries):
        return ":".join(entries)
    if len(entries) == 1:
        return entries[0]
    words = [
        entry.strip('"') if isinstance(entry, Shell) else _in_quotes(entry) for entry in entries
    ]
    return Shell(f'"{":".join(words)}"')


def _in_quotes(text: str) -> str:
    """Plain text as it must stand between double quotes in bash."""
    return "".join(f"\\{letter}" if letter in '\\$`"' else letter for letter in text)


def command(plan: Plan, places: Places, program: list[str]) -> list[list[str]]:
    """The lines of ``apptainer exec`` around a program.

    Args:
        plan: the plan; its image must be set.
        places: where things lie.
        program: argv inside the container.

    Raises:
        UserError: where the plan's packages lie is not decided.

    The environment goes in through ``env``: ``--env`` reads its values as
    comma-separated and strips quotes, so it cannot carry every value.
    """
    if plan.image is None:
        raise ValueError("this plan has no image")
    if plan.requirements and plan.overlay is None:
        raise UserError(
            f"where the packages of {plan.source} lie was not looked up: see hpcdl env build"
        )
    head = [plan.runtime, "exec"] + (["--nv"] if plan.nv else []) + ["--cleanenv", "--no-home"]
    lines = [head, *(["--bind", bind] for bind in _binds(plan, places))]
    first, *others = [assign(name, value) for name, value in environment(plan, places).items()]
    lines += [["--pwd", places.workdir], [plan.image], ["env", first], *([word] for word in others)]
    return [*lines, program]


def _binds(plan: Plan, places: Places) -> list[str]:
    """All binds, folders before those inside them.

    What only the node knows, the working directory, comes last: another bind may not hide it.
    """
    binds = [*plan.binds, *(bind for bind in places.binds if not isinstance(bind, Shell))]
    binds += [f"{folder}:{folder}:ro" for folder in plan.pythonpath]
    binds += plan.shown
    if plan.overlay is not None:
        part = "image-src=/," if plan.overlay.endswith(".sqfs") else ""
        binds.append(f"{plan.overlay}:{PACKAGES}:{part}ro")
    if places.tmp is not None:
        binds.append(f"{places.tmp}:/tmp")
    return [*ordered(binds), *(bind for bind in places.binds if isinstance(bind, Shell))]


def assign(name: str, value: str) -> str:
    """``NAME=value`` as one word."""
    if not isinstance(value, Shell):
        return f"{name}={value}"
    return Shell(value if value.startswith("$") else f'"{name}={value.strip(chr(34))}"')


def if_set(name: str) -> Shell:
    """A word that is ``NAME=value`` of the node's variable, and no word at all where that is not set."""
    return Shell(f'${{{name}+"{name}=${name}"}}')


def first_gpus(gpus: int) -> Shell:
    """Bash for the first GPUs of those that the node shows to a job."""
    every = ",".join(str(number) for number in range(gpus))
    return Shell(f'"$(cut -d, -f-{gpus} <<<"${{CUDA_VISIBLE_DEVICES:-{every}}}")"')


def visible_gpus(plan: Plan, shown: str | None) -> str | None:
    """What CUDA_VISIBLE_DEVICES is for the program.

    Args:
        plan: the plan.
        shown: what it is on the node, or None where it is not set there.
    """
    if not plan.uses_first_gpus:
        return shown
    names = shown.split(",") if shown else [str(number) for number in range(plan.gpus)]
    return ",".join(names[: plan.gpus])


def within(folder: str, name: str) -> str:
    """A path inside a folder, which may be `Shell`."""
    return (
        Shell(f'"{folder.strip(chr(34))}/{name}"')
        if isinstance(folder, Shell)
        else f"{folder}/{name}"
    )


def isolated(runtime: str, image: str, tmp: str, binds: Sequence[str] = ()) -> list[str]:
    """The argv in front of a program that sees the image alone: no home, no environment of the caller's.

    Args:
        runtime: the container command.
        image: the image file.
        tmp: an empty folder, its home and /tmp: others may have left things in this machine's.
        binds: what it is to see beside.
    """
    clean = [
        "--cleanenv",
        "--no-home",
        *(word for bind in (f"{tmp}:/tmp", *binds) for word in ("--bind", bind)),
    ]
    clean += ["--pwd", "/"]
    return [runtime, "exec", *clean, image, "env", "PYTHONNOUSERSITE=1", "HOME=/tmp"]
