"""In which folder a script is, on the way through it: cd, pushd and popd, and what undoes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hpcdl.batchscript.model import Command, Word

MOVERS = ("cd", "pushd", "popd")
Trail = tuple[Word, ...] | None
_SUBMIT = ("$SLURM_SUBMIT_DIR", "${SLURM_SUBMIT_DIR}")
_SWITCHES = ("-P", "-L", "-e", "--")
_LONGEST = 50  # folders of a way; nobody writes so many, and each command would keep them
_MOST_CALLS = 20  # of functions within functions


@dataclass(frozen=True)
class Whereabouts:
    """Where the script is: the folders of cd since the last whole one; None where unknown."""

    now: Trail = ()
    before: Trail = None  # for cd -
    stack: tuple[Trail, ...] = ()  # of pushd

    def after(self, words: list[Word], starts_at_submit: bool) -> Whereabouts:
        """Where it is after a command, which may be any.

        Args:
            words: the command's.
            starts_at_submit: whether the job begins in the folder where sbatch was called.
        """
        while len(words) > 1 and words[0].text in ("builtin", "command"):
            words = words[1:]
        name = words[0].text if words else None
        args = [word for word in words[1:] if word.raw not in _SWITCHES]
        if name == "eval" and any(mover in word.raw for word in args for mover in MOVERS):
            return Whereabouts(None)
        if name not in MOVERS:
            return self
        if name == "popd":
            if args or not self.stack:
                return Whereabouts(None)
            return Whereabouts(self.stack[-1], self.now, self.stack[:-1])
        if name == "pushd" and (len(args) != 1 or args[0].raw[:1] in "+-"):
            return Whereabouts(None)
        stack = (*self.stack, self.now) if name == "pushd" else self.stack
        stack = stack[-_LONGEST:]
        return Whereabouts(self._after_cd(args, starts_at_submit), self.now, stack)

    def _after_cd(self, args: list[Word], starts_at_submit: bool) -> Trail:
        if not args:
            return (Word("~", "~"),)
        if len(args) > 1 or args[0].torn:
            return None
        word = args[0]
        if word.text == "-":
            return self.before
        if starts_at_submit and word.raw.strip('"').rstrip("/") in _SUBMIT:
            return ()
        return joined_trail(self.now, (word,))

    def or_else(self, other: Whereabouts) -> Whereabouts:
        """Where it is after one of two ways."""
        if self == other:
            return self
        return Whereabouts(self.now if same(self.now, other.now) else None)


def is_whole(path: str) -> bool:
    """Whether a path starts nowhere else: at the root, at a home, or at a variable."""
    return path.startswith(("/", "~", "$"))


def joined_trail(first: Trail, then: Trail) -> Trail:
    """The one way after the other; a whole folder makes those before it forgotten."""
    if then is None:
        return None
    for number in range(len(then) - 1, -1, -1):
        word = then[number]
        if is_whole(word.text if word.text is not None else word.raw.lstrip('"')):
            return then[number:]
    if first is None or len(first) + len(then) > _LONGEST:
        return None
    return (*first, *then)


def same(one: Trail, other: Trail) -> bool:
    """Whether two ways are known and lead to the same folder."""
    if one is None or other is None:
        return False
    return [(word.raw, word.text) for word in one] == [(word.raw, word.text) for word in other]


def with_calls(commands: list[Command]) -> list[Command]:
    """The commands, those of functions with the folder of their calls: of all calls the same."""
    calls: dict[str, list[Command]] = {}
    names = {command.function for command in commands if command.function}
    for command in commands:
        if command.name in names and command.starter is None:
            calls.setdefault(command.name, []).append(command)
    start: dict[str, Trail] = {}

    def base(function: str, depth: int) -> Trail:
        if function not in start:
            start[function] = None  # until it is known: it calls itself
            ways = [way(call, depth + 1) for call in calls.get(function, [])]
            alike = bool(ways) and all(same(ways[0], other) for other in ways)
            start[function] = ways[0] if alike else None
        return start[function]

    def way(command: Command, depth: int = 0) -> Trail:
        if not command.function or command.is_inside:
            return command.went
        if depth > _MOST_CALLS:
            return None
        return joined_trail(base(command.function, depth), command.went)

    return [replace(command, went=way(command)) for command in commands]
