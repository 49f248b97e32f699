"""``%time``, ``%timeit`` and ``%prun``: runs code and prints what it took."""

from __future__ import annotations

import ast
import gc
import math
import os
import re
import time
from types import CodeType
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

_OPTION = re.compile(r"\s*-(?:(?P<name>[nrp])\s*(?P<value>\d+)|(?P<flag>[tcqov])\b)\s*")
_UNITS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9))


def timed(run: Callable[[], Any]) -> Any:
    """Call a function, and print its CPU and wall time as ``%time`` does, also if it fails."""
    wall, before = time.perf_counter(), os.times()
    try:
        return run()
    finally:
        took, after = time.perf_counter() - wall, os.times()
        user, system = after.user - before.user, after.system - before.system
        line = "CPU times: user {}, sys: {}, total: {}"
        print(line.format(span(user), span(system), span(user + system)))
        print("Wall time: {}".format(span(took)), flush=True)


def span(seconds: float) -> str:
    """A time with three digits and its unit."""
    if seconds >= 60:
        minutes, rest = divmod(seconds, 60)
        hours, minutes = divmod(int(minutes), 60)
        start = "{}h ".format(hours) if hours else ""
        return "{}{}min {:.3g}s".format(start, minutes, rest)
    for unit, factor in _UNITS:
        if seconds * factor >= 1:
            return "{:.3g} {}".format(seconds * factor, unit)
    return "{:.3g} ns".format(seconds * 1e9)


class TimeitResult:
    """What ``%timeit -o`` gives back.

    Args:
        loops: runs in each repetition.
        all_runs: the time of each repetition, in seconds.
    """

    def __init__(self, loops: int, all_runs: List[float]) -> None:
        self.loops, self.repeat, self.all_runs = loops, len(all_runs), all_runs
        self.timings = [took / loops for took in all_runs]
        self.best, self.worst = min(self.timings), max(self.timings)
        self.average = math.fsum(self.timings) / len(self.timings)
        squares = [(took - self.average) ** 2 for took in self.timings]
        self.stdev = math.sqrt(math.fsum(squares) / len(squares))

    def __repr__(self) -> str:
        runs = "{} run{}".format(self.repeat, "" if self.repeat == 1 else "s")
        loops = "{:,} loop{} each".format(self.loops, "" if self.loops == 1 else "s")
        spans = span(self.average), span(self.stdev)
        return "{} ± {} per loop (mean ± std. dev. of {}, {})".format(*spans, runs, loops)


def timeit(
    options: str, statement: str, setup: str, names: Dict[str, Any], file: str
) -> Optional[TimeitResult]:
    """Run a statement many times, as ``%timeit`` does: its variables are not the notebook's.

    Args:
        options: -n, -r and IPython's others.
        statement: the code to measure.
        setup: code that runs once before each repetition.
        names: the notebook's variables.
        file: what tracebacks call the code.
    """
    chosen, flags = {"n": 0, "r": 7}, ""
    for option in _OPTION.finditer(options):
        flags += option.group("flag") or ""
        if option.group("name"):
            chosen[option.group("name")] = int(option.group("value"))
    inner = _function(statement, setup, names, file)
    loops = chosen["n"]
    if not loops:
        for power in range(10):
            loops = 10**power
            if _measure(inner, loops) >= 0.2:
                break
    result = TimeitResult(loops, [_measure(inner, loops) for _ in range(max(1, chosen["r"]))])
    if "q" not in flags:
        print(repr(result), flush=True)
    return result if "o" in flags else None


def split_options(line: str) -> Tuple[str, str]:
    """The options that a line begins with, and the rest."""
    place = 0
    while True:
        option = _OPTION.match(line, place)
        if not option:
            return line[:place], line[place:]
        place = option.end()


def _measure(inner: Callable[[Iterator[None], Callable[[], float]], float], loops: int) -> float:
    collects = gc.isenabled()
    gc.disable()
    try:
        return inner(iter([None] * loops), time.perf_counter)
    finally:
        if collects:
            gc.enable()


def _function(statement: str, setup: str, names: Dict[str, Any], file: str) -> Any:
    """The function that measures: the code's own lines are in it, so that tracebacks show them."""
    template = "def _inner(_loops, _clock):\n pass\n _begin = _clock()\n for _ in _loops: pass\n"
    tree = ast.parse(template + " return _clock() - _begin\n")
    function: Any = tree.body[0]
    function.body[2].body = ast.parse(statement, file).body or function.body[2].body
    function.body[:1] = ast.parse(setup, file).body
    code = compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True)
    defined: Dict[str, Any] = {}
    _execute(code, names, defined)
    return defined["_inner"]


def _execute(code: CodeType, names: Dict[str, Any], defined: Dict[str, Any]) -> None:
    exec(code, names, defined)  # noqa: S102 - the user's own code


def profiled(run: Callable[[], Any]) -> Any:
    """Call a function, and print the profile of it as ``%prun`` does."""
    import cProfile
    import pstats

    profile = cProfile.Profile()
    try:
        return profile.runcall(run)
    finally:
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(40)
