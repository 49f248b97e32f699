"""What a batch script says, as far as it can be known before it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_MOST_CALLS = 20  # of functions within functions


@dataclass(frozen=True)
class Directive:
    """One option of an ``#SBATCH`` line, by its long name; sbatch need not know it."""

    name: str
    value: str | None
    line: int
    text: str  # the option as it is written: -t 10, --time=10
    is_option: bool = (
        True  # False: a word that belongs to no option, such as the b of --export=a, b
    )


@dataclass(frozen=True)
class Word:
    """One word of a command; `text` is None where it cannot be known before the script runs."""

    text: str | None
    raw: str
    unknown: tuple[str, ...] = ()  # variables and substitutions that it needs: $X, $(date)
    variables: tuple[str, ...] = ()  # all variables that it uses, known ones too
    torn: str | None = None  # the whole value, of which this is a part: it had blanks and no quotes


@dataclass(frozen=True)
class Redirect:
    """Where a command's output goes or its input comes from: operator, as in >>, and target."""

    operator: str
    target: Word


@dataclass(frozen=True)
class Command:
    """One simple command of the script."""

    words: tuple[Word, ...]
    line: int
    env: tuple[tuple[str, Word], ...] = ()  # assignments in front of the command
    in_loop: bool = False
    conditional: bool = False  # in an if, a case, behind && or ||
    function: str | None = None  # the function in whose body it stands
    heredoc: str | None = None
    redirects: tuple[Redirect, ...] = ()
    reads_pipe: bool = False  # a | this
    writes_pipe: bool = False  # this | b
    background: bool = False  # this &
    substituted: bool = False  # it stands in $(…), `…`, <(…)
    text: str = ""  # as it is written
    end_line: int = 0
    went: tuple[Word, ...] | None = ()  # the folders of cd, from the job's on; None: not known
    seen: Seen | None = field(default=None, repr=False, compare=False)  # what was set before it

    @property
    def name(self) -> str:
        """The program's name without its folder; empty where it cannot be known."""
        return name_of(self.words)


def name_of(words: tuple[Word, ...]) -> str:
    """The name of a program without its folder; empty where it cannot be known."""
    return (words[0].text or "").rpartition("/")[2] if words else ""


@dataclass(frozen=True)
class Assignment:
    """A variable's value from this line on; `exported` where programs see it, too."""

    name: str
    word: Word
    line: int
    exported: bool = False
    conditional: bool = False  # in an if, a loop, a function: it may not come to this
    went: tuple[Word, ...] | None = ()  # the folders of cd, as of a command


@dataclass(frozen=True, eq=False, repr=False)
class Seen:
    """The last thing that was set before a command, and those before that.

    `is_unset` is for an unset, which takes the variable away.
    """

    assignment: Assignment
    before: Seen | None
    is_unset: bool = False


@dataclass(frozen=True)
class Launcher:
    """srun or mpirun in front of a program; options by their long names where known."""

    name: str
    options: dict[str, Word | None]
    command: Command


@dataclass(frozen=True)
class Wrapper:
    """env, nice, timeout or the like in front of a program."""

    words: tuple[Word, ...]  # its name, and all words of its own: options, NAME=value, a duration
    is_inside: bool = False  # of the container

    @property
    def name(self) -> str:
        """The command's name without its folder."""
        return (self.words[0].text or "").rpartition("/")[2]


@dataclass(frozen=True)
class Container:
    """apptainer or singularity in front of a program; `image` is None where none is named."""

    name: str
    verb: str  # exec, run, shell
    options: tuple[tuple[str, Word | None], ...]  # long names without dashes: nv, bind, …
    image: Word | None
    is_sure: bool = True  # False: a variable in front of the image may hold more options

    def has(self, *names: str) -> bool:
        """Whether it is given one of these options."""
        return any(name in names for name, _ in self.options)

    def values(self, name: str) -> list[Word]:
        """The values of an option that may stand several times."""
        return [value for given, value in self.options if given == name and value is not None]


@dataclass(frozen=True)
class Program:
    """What a command starts in the end, and what stands in front of it: launcher, container."""

    command: Command
    launchers: tuple[Launcher, ...] = ()
    wrappers: tuple[Wrapper, ...] = ()
    container: Container | None = None
    words: tuple[Word, ...] = ()  # the innermost program and its arguments
    python: Word | None = None  # the interpreter, where the program is Python
    python_options: tuple[Word, ...] = ()
    script: Word | None = None  # the .py (or what stands in its place)
    module: Word | None = None  # of python -m MODULE
    args: tuple[Word, ...] = ()  # the script's or module's, or the program's
    went: tuple[Word, ...] | None = ()  # the folders of cd and --chdir; None: not known

    @property
    def name(self) -> str:
        """The innermost program's name without its folder; empty where it cannot be known."""
        return name_of(self.words)


@dataclass(frozen=True)
class BatchScript:
    """A batch script, read and not run."""

    path: Path
    text: str
    shell: str  # of the first line: bash, sh, …
    directives: tuple[Directive, ...]  # in effect: of each name the last
    all_directives: tuple[Directive, ...]
    ignored: tuple[Directive, ...]  # below the first command: sbatch does not read them
    assignments: tuple[Assignment, ...] = ()
    commands: tuple[Command, ...] = ()
    programs: tuple[Program, ...] = ()
    shown: str = ""  # how the user calls the file
    functions: tuple[str, ...] = ()  # names of the script's own functions
    uses: tuple[tuple[str, int], ...] = ()  # a variable's use without a default: name and line
    set_names: frozenset[str] = frozenset()  # all that it sets in any way: loops, read, $(( ))
    unread: tuple[tuple[int, int], ...] = ()  # lines that bash reads and our parser does not
    components: int = 1  # of a heterogeneous job; its directives are the first one's
    faults: tuple[tuple[int, str], ...] = ()  # #SBATCH lines that cannot be split, and why

    def directive(self, name: str) -> Directive | None:
        """The directive of that long name that is in effect."""
        return next((given for given in self.directives if given.name == name), None)

    def value(self, name: str) -> str | None:
        """The value of the directive of that long name; None also for a flag."""
        given = self.directive(name)
        return given.value if given else None

    def line(self, number: int) -> str:
        """A line of the script, from 1 on, as it is written."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""

    def set_before(self, command: Command) -> list[Assignment]:
        """What is set when a command runs, in its order; for a function's, when it is called."""
        command = self.start_of(command)
        found: list[Assignment] = []
        unset: set[str] = set()
        seen = command.seen
        while seen is not None:
            name = seen.assignment.name
            if seen.is_unset:
                unset.add(name)
            elif name not in unset:
                found.append(seen.assignment)
            seen = seen.before
        return found[::-1]

    def start_of(self, command: Command) -> Command:
        """The command, or the first call that comes to it: of the function in which it stands."""
        for _ in range(_MOST_CALLS):
            calls = self.commands_named(command.function) if command.function else ()
            if not calls:
                break
            command = calls[0]
        return command

    def commands_named(self, *names: str) -> tuple[Command, ...]:
        """The commands whose program has one of these names: module, srun, cd."""
        return tuple(command for command in self.commands if command.name in names)


@dataclass(frozen=True)
class ScriptFinding:
    """One thing that is wrong with a script: where, why, and the line to write instead."""

    code: str
    line: int
    cause: str
    fix: str  # the remedy, a line to write where there is one
    blocks: bool = False  # the job cannot run as it stands
