"""What is wrong with the value of an option that sbatch knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpcdl.batchscript.model import Directive, ScriptFinding
from hpcdl.batchscript.placeholders import FREE, VARIABLE, example, is_placeholder
from hpcdl.batchscript.sbatchtable import OPTIONS, long_name
from hpcdl.batchscript.sizes import memory_mb, slurm_seconds
from hpcdl.text import cut, one_line

NUMBERS = ("ntasks", "ntasks-per-node", "cpus-per-task", "cpus-per-gpu", "ntasks-per-socket")
MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")


def value_findings(directive: Directive) -> Iterator[ScriptFinding]:
    """What is wrong with the value of an option that sbatch knows."""
    name, value, takes = directive.name, directive.value, OPTIONS[directive.name]
    if takes == "required" and value is None:
        cause = f"{_shown(directive.text)} has no value, and sbatch wants one"
        fix = f"#SBATCH --{name}=VALUE"
        yield ScriptFinding("bad-value", directive.line, cause, fix, blocks=True)
    elif value is not None and (takes == "no" or (name == "requeue" and value != "expedite")):
        cause = f"--{name} takes no value; sbatch refuses {_shown(directive.text)}"
        yield ScriptFinding("bad-value", directive.line, cause, f"#SBATCH --{name}", blocks=True)
    if not value:
        return
    yield from _placeholder(directive, value)
    swallowed = swallowed_option(directive)
    if swallowed:
        yield _swallows(directive, swallowed)
        return
    wrong = wrong_value(name, value)
    if wrong is None and _is_glued(directive):
        wrong = ("no blank and no = in front of it", value[1:] or "VALUE")
    if wrong and not is_placeholder(name, value):
        cause = f"sbatch takes no {_shown(value)} for --{name}: expected {wrong[0]}"
        fix = _instead(directive) or f"#SBATCH --{name}={wrong[1]}"
        yield ScriptFinding("bad-value", directive.line, cause, fix, blocks=True)


def swallowed_option(directive: Directive) -> str | None:
    """The option that another one takes for its value, by its long name: -M --cluster iris."""
    given = directive.value or ""
    if not given.startswith("--") or "=" in directive.text.split(given)[0]:
        return None
    return long_name(given[2:].partition("=")[0])


def _swallows(directive: Directive, swallowed: str) -> ScriptFinding:
    """An option without a value takes the next one for it."""
    name, given = directive.name, directive.value or ""
    option = _shown(directive.text.removesuffix(given))
    cause = f"{option} has no value, and sbatch takes {_shown(given)} for it"
    value = given.partition("=")[2]
    fix = f"#SBATCH --{name}={_shown(value) or 'VALUE'}"
    if name != swallowed:
        fix = f"#SBATCH --{name}=VALUE {_shown(given)}"
    return ScriptFinding("bad-value", directive.line, cause, fix, blocks=name not in FREE)


def _placeholder(directive: Directive, value: str) -> Iterator[ScriptFinding]:
    """A text that stands for one's own: <group>, YOUR_ACCOUNT; $ACCOUNT, which no shell reads."""
    if not is_placeholder(directive.name, value):
        return
    name = directive.name
    if VARIABLE.search(value):
        cause = f"no shell reads an #SBATCH line: --{name} is the text {_shown(value)}"
        fix = f"write its value: #SBATCH --{name}=VALUE, or: sbatch --{name}={_shown(value)} SCRIPT"
    else:
        cause = f"{_shown(value)} stands for a value of your own"
        fix = f"#SBATCH --{name}={example(name)}"
    blocks = name not in ("mail-user", "job-name", "comment")
    yield ScriptFinding("placeholder", directive.line, cause, fix, blocks=blocks)


def wrong_value(name: str, value: str) -> tuple[str, str] | None:
    """What is expected instead of a value that sbatch refuses for certain, and an example."""
    if name in ("time", "time-min"):
        is_right = slurm_seconds(value) is not None or value.upper() in ("UNLIMITED", "INFINITE")
        is_right = is_right or re.fullmatch(r"-1|\d*(:\d*){0,2}", value) is not None
        return None if is_right else ("minutes, or days-hours:minutes:seconds", "01:00:00")
    if name in NUMBERS and not re.fullmatch(r"\d+", value):
        return "a number", "1"
    if name == "nodes":
        # also 1,3,5 and 2-8:2, which newer releases take
        match = re.fullmatch(r"\d+[kKmM]?(?:-\d+[kKmM]?)?(?:[,:].*)?", value)
        return None if match else ("a number, or the least and the most", "1")
    if (
        name in MEMORY
        and memory_mb(value) is None
        and not re.fullmatch(r"\d+[KMGTkmgt]?[bB]?", value)
    ):
        return "a number with K, M, G or T", "16G"
    if name == "gres" and re.match(r"gpus?=|gpus:", value):
        return "gpu:COUNT or gpu:TYPE:COUNT", "gpu:" + re.sub(r"^gpus?[=:]", "", value)
    return None


def _instead(directive: Directive) -> str | None:
    """The line for -t=10, --time =10 and -time=10, where the option has swallowed too much."""
    if _is_glued(directive):
        return f"#SBATCH --{directive.name}={_shown((directive.value or '')[1:]) or 'VALUE'}"
    text = directive.text.split()[0] if directive.text.split() else ""
    if text.startswith("--") or directive.value is None:
        return None
    name, equals, value = text[1:].partition("=")
    meant = long_name(name) if equals else None
    return f"#SBATCH --{meant}={_shown(value)}" if meant else None


def _is_glued(directive: Directive) -> bool:
    """Whether a value begins with =, as in -J=a and --job-name =a: sbatch takes it for a part."""
    return (directive.value or "").startswith("=") and not directive.text.startswith(
        f"--{directive.name}="
    )


def _shown(text: str) -> str:
    return cut(one_line(text.strip()), 120)
