"""Runs a program as the job's batch script would: after its module lines, in its environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from hpcdl.environment import submission_environment
from hpcdl.errors import ContainerError, HpcdlError

_COLOURS = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
_NO_MODULE, _NOT_LOADED = 97, 98  # exit statuses of the lines in front of the program


class ModuleError(HpcdlError):
    """A module of the batch script cannot be loaded here."""


class NoModuleCommandError(HpcdlError):
    """This machine has no module command."""


def run(
    lines: Sequence[str],
    argv: Sequence[str],
    env: dict[str, str] | None = None,
    stdin: str = "",
    timeout_s: int = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a program after some module lines.

    Args:
        lines: from `Plan.module_lines`.
        argv: the program.
        env: variables besides those that a job inherits.
        stdin: its input.
        timeout_s: how long all of it may take.

    Raises:
        ModuleError: a module is not to be loaded.
        HpcdlError: this machine has no module command, or the program did not end in time.
    """
    command, environment = after_modules(lines, argv, env)
    try:
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, timeout=timeout_s,
            check=False, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise HpcdlError(f"{argv[0]} did not answer in {timeout_s} s") from error
    check_loaded(lines, done.returncode, done.stderr)
    return done


def after_modules(
    lines: Sequence[str], argv: Sequence[str], env: dict[str, str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """The argv and the environment to run a program after some module lines."""
    environment = {**submission_environment(os.environ), **(env or {})}
    command = list(argv)
    if lines:
        shell = ["bash"]
        defined = any(name.startswith("BASH_FUNC_module") for name in environment)
        if not defined and not lines[0].startswith("source "):
            # The site's login files define it; the user's own do not count. $0 becomes the home.
            shell, environment = ["bash", "-l"], {**environment, "HOME": "/nonexistent"}
        before = ['export HOME="$0"', f"type module >/dev/null 2>&1 || exit {_NO_MODULE}"]
        if lines[0].startswith("source "):
            before = [before[0], f"{lines[0]} || exit {_NOT_LOADED}", before[1]]
        loads = [f"{line} || exit {_NOT_LOADED}" for line in lines if line.startswith("module ")]
        text = "\n".join([*before, *loads, 'exec "$@"'])
        command = [*shell, "-c", text, os.environ.get("HOME", "/"), *argv]
    return command, environment


def check_loaded(lines: Sequence[str], status: int, words: str) -> None:
    """Raise what kept the module lines in front of a program from working, if anything did.

    Args:
        lines: the module lines.
        status: the exit status of all.
        words: what was written to stderr.

    Raises:
        ModuleError: a module is not to be loaded.
        HpcdlError: this machine has no module command.
    """
    if lines and status == _NO_MODULE:
        raise NoModuleCommandError("there is no module command on this machine")
    if lines and status == _NOT_LOADED:
        raise ModuleError(last_line(words) or f"{lines[-1]} failed")


def run_in_container(
    runtime: str,
    lines: Sequence[str],
    argv: Sequence[str],
    stdin: str,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a container command that this machine, or a module, has.

    Args:
        runtime: the command, the first word of argv.
        lines: from `Plan.module_lines`.
        argv: all words.
        stdin: the program's input.
        env: variables besides those that a job inherits.

    Raises:
        ContainerError: neither has it.
        ModuleError: a module is not to be loaded.
        HpcdlError: this machine has no module command, or the program did not end in time.
    """
    if shutil.which(runtime):
        try:  # the job's modules may say what its container sees
            return run(lines, argv, env, stdin, timeout_s=300)
        except (ModuleError, NoModuleCommandError):  # the command is here without them
            return run([], argv, env, stdin, timeout_s=300)
    if not lines:
        raise ContainerError(f"there is no {runtime} command on this machine")
    done = run(lines, argv, env, stdin, timeout_s=300)
    if done.returncode == 127 and runtime in done.stderr:
        raise ContainerError(
            f"there is no {runtime} command on this machine, with the profile's modules loaded"
        )
    return done


def last_line(text: str) -> str:
    """The last line with words in it, without the colours of a terminal."""
    plain = _COLOURS.sub("", text)
    lines = [line.strip() for line in plain.splitlines() if re.search(r"\w", line)]
    return lines[-1] if lines else ""
