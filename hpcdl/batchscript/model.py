"""What a batch script says, as far as it can be known before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

IMAGES_OF_PYXIS = ("container-image", "container-name")  # options of srun that start one
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


@dataclass(frozen=True, eq=False, repr=False)
class Shell:
    """The shell that bash -c starts: which variables it does not get from the one around it.

    Args:
        hidden: names that the script sets, and that this shell does not get, or gets otherwise.
        is_clean: whether it gets none at all.
        is_inside: whether it runs in a container.
        outer: the shell that starts it; None for that of the script.
    """

    hidden: frozenset[str]
    is_clean: bool = False
    is_inside: bool = False
    outer: Shell | None = None

    def hides(self, name: str) -> bool:
        """Whether a variable of the shell around it is not seen here."""
        return self.is_clean or name in self.hidden


@dataclass(frozen=True)
class Word:
    """One word of a command; `text` is None where it cannot be known before the script runs."""

    text: str | None
    raw: str
    unknown: tuple[str, ...] = ()  # variables and substitutions that it needs: $X, $(date)
    variables: tuple[str, ...] = ()  # all variables that it uses, known ones too
    torn: str | None = None  # the whole value, of which this is a part: it had blanks and no quotes
    program: str = ""  # the name of the program that it is, where no more is known: $(which python)
    # That of bash -c, where it stands in its text; None: the script's own
    shell: Shell | None = field(default=None, repr=False, compare=False)

    @property
    def written(self) -> str:
        """Its text, or what stands there where that is not known."""
        return self.raw if self.text is None else self.text

    @property
    def base(self) -> str:
        """The name without its folder of the program that it is; empty where it is not known."""
        return (self.text or self.program).rpartition("/")[2]


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
    # The bash -c in whose text it stands, with what is in front of that
    starter: Program | None = field(default=None, repr=False, compare=False)
    is_read: bool = False  # it is a bash -c whose own commands are among the script's

    @property
    def is_inside(self) -> bool:
        """Whether it stands in the text of a shell in a container: its folder is one inside."""
        return self.starter is not None and self.starter.is_inside

    @property
    def name(self) -> str:
        """The program's name without its folder; empty where it cannot be known."""
        return name_of(self.words)


def name_of(words: tuple[Word, ...]) -> str:
    """The name of a program without its folder; empty where it cannot be known."""
    return words[0].base if words else ""


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

    Args:
        assignment: what was set; None for the call of a function.
        before: what was set before it.
        is_unset: whether it was an unset, which takes the variable away.
        is_lost: whether its value from here on is not known, whatever it was before.
        is_local: whether only its function sees it.
        function: the function in whose body it stands.
        call: the function that is called, which sets what its body does.
    """

    assignment: Assignment | None
    before: Seen | None
    is_unset: bool = False
    is_lost: bool = False
    is_local: bool = False
    function: str | None = None
    call: str | None = None


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
    is_named: bool = True  # False: one of the two, and only the running script knows which

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
    inside: tuple[Word, ...] | None = ()  # the folders of cd within its container

    @property
    def is_inside(self) -> bool:
        """Whether it runs in a container, of Apptainer's or of srun's."""
        if self.container is not None:
            return True
        images = set(IMAGES_OF_PYXIS)
        return any(images.intersection(launcher.options) for launcher in self.launchers)

    @property
    def starters(self) -> list[Command]:
        """The bash -c in whose texts it stands, the innermost first."""
        found: list[Command] = []
        starter = self.command.starter
        while starter is not None:
            found.append(starter.command)
            starter = starter.command.starter
        return found

    @property
    def container_command(self) -> Command:
        """The command that starts its container, or the program where it has none."""
        command, container = self.command, self.container
        while container is not None and command.starter is not None:
            if command.starter.container is not container:
                break  # a container within another one
            command = command.starter.command
        return command

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
    directives: tuple[Directive, ...]  # in effect: of each name the last, mail-type summed up
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
    texts: frozenset[int] = frozenset()  # lines that begin within quotes, or a here-document
    components: int = 1  # of a heterogeneous job; its directives are the first one's
    faults: tuple[tuple[int, str], ...] = ()  # #SBATCH lines that cannot be split, and why
    # What each function sets, in its order
    bodies: Mapping[str, tuple[Seen, ...]] = field(default_factory=dict, repr=False, compare=False)

    def directive(self, name: str) -> Directive | None:
        """The directive of that long name that is in effect."""
        return next((given for given in self.directives if given.name == name), None)

    def value(self, name: str) -> str | None:
        """The value of the directive of that long name; None also for a flag."""
        given = self.directive(name)
        return given.value if given else None

    def line(self, number: int) -> str:
        """A line of the script, from 1 on, as it is written."""
        lines = self._lines
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def set_before(self, command: Command) -> list[Assignment]:
        """What is set when a command runs, in its order; for a function's, when it is called."""
        chain: list[Seen] = []
        path: set[str | None] = set()  # functions that have called each other
        for _ in range(_MOST_CALLS):
            path.add(command.function)
            call = self._call_of(command)
            if call is None:
                break
            own = filter(lambda item: item.function in path, _before(command.seen))
            chain.extend(own)
            command = call
        chain.extend(_before(command.seen))
        found: dict[int, Assignment] = {}
        gone: set[str] = set()
        for item in _with_calls(chain, self.bodies):
            assignment = item.assignment
            is_hidden = item.is_local and item.function not in path
            if assignment is None or assignment.name in gone or is_hidden:
                continue
            if not item.is_unset:
                found.setdefault(id(assignment), assignment)
            if item.is_unset or item.is_lost:
                gone.add(assignment.name)
        return list(found.values())[::-1]

    def _call_of(self, command: Command) -> Command | None:
        """The first call of the function in which a command stands, best outside of all."""
        if not command.function:
            return None
        calls = self.commands_named(command.function)
        return next((call for call in calls if not call.function), calls[0] if calls else None)

    def start_of(self, command: Command) -> Command:
        """The command, or the first call that comes to it: of the function in which it stands."""
        for _ in range(_MOST_CALLS):
            call = self._call_of(command)
            if call is None:
                break
            command = call
        return command

    def commands_named(self, *names: str) -> tuple[Command, ...]:
        """The commands of the script's own shell with one of these names: module, srun, cd."""
        own = filter(lambda command: command.starter is None, self.commands)
        return tuple(command for command in own if command.name in names)


def _before(seen: Seen | None) -> Iterator[Seen]:
    """What was set, the last first."""
    while seen is not None:
        yield seen
        seen = seen.before


def _with_calls(chain: Iterable[Seen], bodies: Mapping[str, tuple[Seen, ...]]) -> Iterator[Seen]:
    """What was set, the last first, with that of the functions that were called: of each once."""
    waiting = [iter(chain)]
    called: set[str] = set()
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
        elif item.call is None:
            yield item
        elif item.call not in called:
            called.add(item.call)
            waiting.append(reversed(bodies.get(item.call, ())))


@dataclass(frozen=True)
class ScriptFinding:
    """One thing that is wrong with a script: where, why, and the line to write instead."""

    code: str
    line: int
    cause: str
    fix: str  # the remedy, a line to write where there is one
    blocks: bool = False  # the job cannot run as it stands
