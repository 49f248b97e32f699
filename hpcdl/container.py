"""Plan -> the command line that runs a program inside the container. Nothing else knows apptainer.

A command is a list of lines, each a list of words: a batch script prints the
lines, ``launch`` joins them to one argv. A word is text that is quoted where
it is printed, or `Shell`, which is bash already.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcdl.planning import Plan


class Shell(str):
    """A word of bash, printed as it is: ``Shell('"$PWD"')``."""


@dataclass(frozen=True)
class Places:
    """Where a run's things lie, seen from outside and inside alike (binds keep the paths).

    Each is a path, or `Shell` where only the node knows it. ``lifeline``: stdin is a pipe that nobody writes
    to, and whose end is launch's end.
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


def environment(plan: Plan, places: Places) -> dict[str, str]:
    """The variables the program sees, the user's own first.

    HOME and KERAS_HOME lead Keras 2 and 3 to the staged sets and weights: both
    drop a folder that is not writable, so it is a home of the run's own.
    """
    env: dict[str, str] = dict(plan.env)
    env["HOME"] = places.home
    env["KERAS_HOME"] = within(places.home, ".keras")
    env["PYTHONNOUSERSITE"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    if places.pythonpath is not None:
        env["PYTHONPATH"] = places.pythonpath
    env["HPCDL_DATA_ROOT"] = plan.data_root
    env["HPCDL_STOP_FILE"] = places.stop_file
    if places.attempt is not None:
        env["HPCDL_ATTEMPT"] = places.attempt
    if places.lifeline:
        env["HPCDL_LIFELINE"] = "stdin"
    if places.visible_devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = places.visible_devices
    return env


def command(plan: Plan, places: Places, program: list[str]) -> list[list[str]]:
    """The lines of ``apptainer exec`` around a program.

    Args:
        plan: the plan; its image must be set.
        places: where things lie.
        program: argv inside the container.

    The environment goes in through ``env``: ``--env`` reads its values as
    comma-separated and strips quotes, so it cannot carry every value.
    """
    if plan.image is None:
        raise ValueError("this plan has no image")
    head = [plan.runtime, "exec"] + (["--nv"] if plan.nv else []) + ["--cleanenv", "--no-home"]
    binds = [*plan.binds, *places.binds]
    lines = [head, *(["--bind", bind] for bind in dict.fromkeys(binds))]
    if places.tmp is not None:
        lines.append(["--bind", f"{places.tmp}:/tmp"])
    first, *others = [assign(name, value) for name, value in environment(plan, places).items()]
    lines += [["--pwd", places.workdir], [plan.image], ["env", first], *([word] for word in others)]
    return [*lines, program]


def assign(name: str, value: str) -> str:
    """``NAME=value`` as one word."""
    if not isinstance(value, Shell):
        return f"{name}={value}"
    return Shell(value if value.startswith("$") else f'"{name}={value.strip(chr(34))}"')


def within(folder: str, name: str) -> str:
    """A path inside a folder, which may be `Shell`."""
    return Shell(f'"{folder.strip(chr(34))}/{name}"') if isinstance(folder, Shell) else f"{folder}/{name}"


def isolated(runtime: str, image: str, tmp: str) -> list[str]:
    """The argv in front of a program that sees the image alone: no home, no environment of the caller's.

    Args:
        runtime: the container command.
        image: the image file.
        tmp: an empty folder, its home and /tmp: others may have left things in this machine's.
    """
    clean = ["--cleanenv", "--no-home", "--bind", f"{tmp}:/tmp", "--pwd", "/"]
    return [runtime, "exec", *clean, image, "env", "PYTHONNOUSERSITE=1", "HOME=/tmp"]
