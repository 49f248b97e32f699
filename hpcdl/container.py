"""Plan -> the command line that runs a program inside the container. Nothing else knows apptainer.

A command is a list of lines, each a list of words. A batch script prints the lines;
``launch`` joins them to one argv, where each word is plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from hpcdl.errors import UserError
from hpcdl.mounts.binds import ordered
from hpcdl.planning import Plan, Training

PACKAGES = "/opt/hpcdl/packages"  # where a job sees the packages that its image lacks


@dataclass(frozen=True)
class Bash:
    """Text that bash expands, printed within double quotes: ``Bash("$PWD")``."""

    text: str

    def __truediv__(self, name: str) -> Bash:
        """The path of a file in this folder; bash expands nothing in its name."""
        return Bash(f"{self.text}/{_in_quotes(name)}")


@dataclass(frozen=True)
class IfSet:
    """``NAME=value`` of the node's variable, and no word at all if it is not set there."""

    name: str


Text = Union[str, Bash]
Word = Union[Text, IfSet]


@dataclass(frozen=True)
class Places:
    """Where a run's things lie, seen from outside and inside alike (binds keep the paths).

    Args:
        workdir: the folder that the program starts in; as most of these, a path, or `Bash` where
            only the node knows it.
        home: the program's own home.
        stop_file: the file that asks the program to save and stop.
        pythonpath: hpcdl's own entries of PYTHONPATH.
        tmp: the folder that is /tmp inside.
        binds: what is bound besides the plan's binds.
        visible_devices: which GPUs it may use: the value of the variable of the GPUs' maker.
        attempt: the number of this attempt.
        lifeline: whether stdin is a pipe that nobody writes to, and that ends when launch ends.
        metrics_file: where a script may write its metrics.
        end_time: when the job reaches its time limit (unix time), for a script.
        after: the folders of the runs that came before.
        passed: the node's variables that the container gets.
        support: the folder that holds the package ``hpcdl_support``, next to a frozen script.
        workers: the variables that tell one of several workers of the others.
    """

    workdir: Text
    home: Text
    stop_file: Text
    pythonpath: Text | None = None
    tmp: str | None = None
    binds: Sequence[Text] = ()
    visible_devices: Word | None = None
    attempt: Text | None = None
    lifeline: bool = False
    metrics_file: str | None = None
    end_time: float | None = None
    after: Sequence[str] = ()
    passed: Mapping[str, Word] = field(default_factory=dict)
    support: Text | None = None
    workers: Mapping[str, Word] = field(default_factory=dict)


def environment(plan: Plan, places: Places) -> dict[str, Word]:
    """The variables that the program sees.

    These are a private home and caches, what the profile passes on, the user's own, and hpcdl's.

    HOME and KERAS_HOME lead Keras 2 and 3 to the staged sets and weights: both
    drop a folder that is not writable, so it is a home of the run's own. So are
    the caches, which an image may have elsewhere.
    """
    env: dict[str, Word] = {
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
    env.update({**places.passed, **plan.environment.env})
    if pythonpath := _pythonpath(plan, places):
        env["PYTHONPATH"] = pythonpath
    env["HPCDL_DATA_ROOT"] = plan.data_root
    env["HPCDL_STOP_FILE"] = places.stop_file
    if isinstance(plan.program, Training) and plan.size.memory_gb:
        env["HPCDL_MEMORY_GB"] = f"{plan.size.memory_gb:g}"
    env.update(_of_attempt(places))
    if places.lifeline:
        env["HPCDL_LIFELINE"] = "stdin"
    if places.visible_devices is not None:
        env[plan.gpu_vendor.variable] = places.visible_devices
    env.update(places.workers)
    return env


def _of_attempt(places: Places) -> dict[str, Word]:
    """The variables that tell a program of its run's attempt."""
    env: dict[str, Word] = {}
    if places.attempt is not None:
        env["HPCDL_ATTEMPT"] = places.attempt
    if places.metrics_file is not None:
        env["HPCDL_METRICS_FILE"] = places.metrics_file
    if places.end_time is not None:
        env["HPCDL_END_TIME"] = f"{places.end_time:.0f}"
    if places.after:
        env["HPCDL_AFTER"] = ":".join(places.after)
    return env


def _pythonpath(plan: Plan, places: Places) -> Text:
    """hpcdl's own entries or those of ``env``, the job's folders and packages, then support."""
    has_packages = plan.container is not None and plan.container.overlay is not None
    entries: list[Text | None] = [places.pythonpath or plan.environment.env.get("PYTHONPATH")]
    entries += plan.environment.pythonpath
    entries += [PACKAGES if has_packages else None, places.support]
    return _joined([entry for entry in entries if entry])


def _joined(entries: list[Text]) -> Text:
    """Entries with a colon in between, which bash expands if it expands one of them."""
    known = [entry for entry in entries if isinstance(entry, str)]
    if len(known) == len(entries):
        return ":".join(known)
    parts = []
    for entry in entries:
        parts.append(entry.text if isinstance(entry, Bash) else _in_quotes(entry))
    return Bash(":".join(parts))


def _in_quotes(text: str) -> str:
    """Plain text as it must stand between double quotes in bash."""
    return "".join(f"\\{letter}" if letter in '\\$`"' else letter for letter in text)


def command(plan: Plan, places: Places, program: Sequence[Word]) -> list[list[Word]]:
    """The lines of ``apptainer exec`` around a program.

    Args:
        plan: the plan, with a container.
        places: where things lie.
        program: argv inside the container.

    Raises:
        UserError: where the plan's packages lie is not decided.

    The environment goes in through ``env``: ``--env`` reads its values as
    comma-separated and strips quotes, so it cannot carry every value.
    """
    container = plan.require_container()
    if container.requirements and container.overlay is None:
        raise UserError(
            f"where the packages of {plan.source} lie was not looked up: see hpcdl env build"
        )
    gpus = [plan.gpu_vendor.option] if container.nv else []
    lines: list[list[Word]] = [[container.runtime, "exec", *gpus, "--cleanenv", "--no-home"]]
    for bind in _binds(plan, places):
        lines.append(["--bind", bind])
    lines += [["--pwd", places.workdir], [container.image]]
    first, *others = [assign(name, value) for name, value in environment(plan, places).items()]
    lines.append(["env", first])
    lines += [[word] for word in others]
    return [*lines, list(program)]


def _binds(plan: Plan, places: Places) -> list[Text]:
    """All binds, folders before those inside them.

    What only the node knows, the working directory, comes last: another bind may not hide it.
    """
    container = plan.require_container()
    binds = list(container.binds)
    last = []
    for bind in places.binds:
        if isinstance(bind, Bash):
            last.append(bind)
        else:
            binds.append(bind)
    binds += [f"{folder}:{folder}:ro" for folder in plan.environment.pythonpath]
    binds += container.shown
    if container.overlay is not None:
        part = "image-src=/," if container.overlay.endswith(".sqfs") else ""
        binds.append(f"{container.overlay}:{PACKAGES}:{part}ro")
    if places.tmp is not None:
        binds.append(f"{places.tmp}:/tmp")
    return [*ordered(binds), *last]


def assign(name: str, value: Word) -> Word:
    """``NAME=value`` as one word."""
    if isinstance(value, IfSet):
        return value
    if isinstance(value, Bash):
        return Bash(f"{name}={value.text}")
    return f"{name}={value}"


def plain(word: Word) -> str:
    """A word that needs no bash.

    Raises:
        TypeError: only bash knows it.
    """
    if not isinstance(word, str):
        raise TypeError(f"expected text that is known here; got {word}")
    return word


def argv(plan: Plan, places: Places, program: Sequence[str]) -> list[str]:
    """`command` as one list, where all places are known here."""
    return [plain(word) for line in command(plan, places, program) for word in line]


def first_gpus(gpus: int, variable: str) -> Bash:
    """Bash for the first GPUs of those that the node shows to a job in a variable."""
    every = ",".join(str(number) for number in range(gpus))
    return Bash(f'$(cut -d, -f-{gpus} <<<"${{{variable}:-{every}}}")')


def visible_gpus(plan: Plan, shown: str | None) -> str | None:
    """What the variable that names its GPUs is for the program.

    Args:
        plan: the plan.
        shown: what it is on the node, or None where it is not set there.
    """
    if not plan.uses_first_gpus:
        return shown
    names = shown.split(",") if shown else [str(number) for number in range(plan.size.gpus)]
    return ",".join(names[: plan.size.gpus])


def within(folder: Text, name: str) -> Text:
    """A path inside a folder."""
    return folder / name if isinstance(folder, Bash) else f"{folder}/{name}"


def isolated(runtime: str, image: str, tmp: str, binds: Sequence[str] = ()) -> list[str]:
    """The argv in front of a program that sees the image alone.

    It sees neither the caller's home nor the caller's environment.

    Args:
        runtime: the container command.
        image: the image file.
        tmp: an empty folder, its home and /tmp: others may have left things in this machine's.
        binds: what it sees besides.
    """
    options = ["--cleanenv", "--no-home"]
    for bind in (f"{tmp}:/tmp", *binds):
        options += ["--bind", bind]
    options += ["--pwd", "/"]
    return [runtime, "exec", *options, image, "env", "PYTHONNOUSERSITE=1", "HOME=/tmp"]
