"""The kinds of program that a run may have, and the words that start each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Optional, TypeVar, Union

FileName = TypeVar("FileName")  # how a program's file is named: as text, or as bash expands it
# The program that runs a notebook, in the folder of support files next to it
SUPPORT = "hpcdl_support"
NOTEBOOK_RUNNER = f"{SUPPORT}/run_notebook.py"
# Runs hpcdl's command line. `-m hpcdl` would import what lies in the working directory first.
RUN_COMMAND = (
    "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "
    "from hpcdl.cli import entrypoint; entrypoint()"
)


@dataclass(frozen=True)
class Training:
    """The program of a job with a model: hpcdl's trainer, which reads run.json.

    Args:
        reads: folders outside data_root that hold the data set and the weights.
    """

    reads: list[str] = field(default_factory=list)

    kind: ClassVar[str] = "training"
    on_host: ClassVar[bool] = False  # see `Command`
    keeps_state: ClassVar[bool] = True  # it saves checkpoints, and says itself what came out
    workdir: ClassVar[Optional[str]] = None  # the run folder
    stop_signal: ClassVar[Optional[str]] = None  # it looks for the stop file itself

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words.

        Args:
            python: the Python command.
            place: gives the path under which the program finds one of its files.
        """
        return [python, "-m", "hpcdl.trainer", place("run.json")]


@dataclass(frozen=True)
class Script:
    """The program of a job with a script or notebook of the user's.

    Args:
        script: the file, from the job file's folder on where it lies below that.
        args: its arguments.
        workdir: the folder that it works in; None for the one that hpcdl makes or that it is sent
            from.
        stop_signal: the signal that tells it to save and stop, such as USR1; None for no signal.
        sets: those of very many staged sets that its home links to; None for all of them.
    """

    script: str
    args: list[str] = field(default_factory=list)
    workdir: Optional[str] = None
    stop_signal: Optional[str] = None
    sets: Optional[list[str]] = None

    kind: ClassVar[str] = "script"
    on_host: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = False  # hpcdl knows nothing of how it does so
    reads: ClassVar[Sequence[str]] = ()  # what its text names is bound as `Container.shown`

    @property
    def is_notebook(self) -> bool:
        """Whether it is a notebook, which another program runs."""
        return self.script.endswith(".ipynb")

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        words: list[str | FileName] = [python]
        if self.is_notebook:
            words.append(place(NOTEBOOK_RUNNER))
        return [*words, place(self.script), *self.args]


@dataclass(frozen=True)
class Command:
    """The program of a job that is a command of hpcdl's own, such as ``hpcdl report RUN``.

    Args:
        words: those after ``hpcdl``.
        workdir: the folder that it works in, so that its relative paths hold.
    """

    words: list[str]
    workdir: Optional[str] = None

    kind: ClassVar[str] = "command"
    on_host: ClassVar[bool] = True  # the node's Python runs it: no container, no home of its own
    keeps_state: ClassVar[bool] = False
    stop_signal: ClassVar[Optional[str]] = None
    reads: ClassVar[Sequence[str]] = ()

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        return [python, "-c", RUN_COMMAND, *self.words]


@dataclass(frozen=True)
class Predict:
    """The program of a prediction: hpcdl's own, in the container, which reads predict.json.

    Args:
        reads: the folders of the runs whose models it uses, and that of the images.
        folder: that of the images.
    """

    reads: list[str]
    folder: str

    kind: ClassVar[str] = "predict"
    on_host: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = True  # it saves block by block
    workdir: ClassVar[Optional[str]] = None
    stop_signal: ClassVar[Optional[str]] = None

    def argv(self, python: str, place: Callable[[str], FileName]) -> list[str | FileName]:
        """The program's words; for the arguments see `Training.argv`."""
        return [python, "-m", "hpcdl.trainer", self.kind, place(f"{self.kind}.json")]


Program = Union[Training, Script, Command, Predict]
