"""Reads a batch script: its #SBATCH lines by sbatch's rules, its commands with a parser of bash."""

from __future__ import annotations

import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from hpcdl.batchscript.directives import Header, in_effect, read_header
from hpcdl.batchscript.foreign import other_system, other_text
from hpcdl.batchscript.model import BatchScript, Command, Directive
from hpcdl.batchscript.programs import program_of
from hpcdl.batchscript.scope import Scope, set_in
from hpcdl.batchscript.shelltree import (
    bash_complaint,
    descendants,
    line_of,
    parse,
    unread_lines,
)
from hpcdl.batchscript.walk import Walk
from hpcdl.batchscript.words import Values
from hpcdl.errors import UserError
from hpcdl.text import cut, hpcdl_command, one_line

if TYPE_CHECKING:
    from tree_sitter import Node

LARGEST = 256_000  # bytes; SLURM itself takes 4 MB, and nobody writes so much
_SHELLS = ("bash", "sh", "dash", "ksh")
_FIRST = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+)*)?(?:\S*/)?([\w.+-]+)")
_TEXTS = ("heredoc_body", "string", "translated_string", "raw_string", "ansi_c_string")
_TO_FILL_IN = re.compile(r"<[A-Za-z][^<>|&;]*>")


def read_script(
    path: Path, shown: str | None = None, outside: dict[str, str] | None = None
) -> BatchScript:
    """Read a batch script; raises UserError for what cannot be read as one. Runs nothing of it.

    Args:
        path: the script.
        shown: how the user calls it.
        outside: variables that every job of the user has; HOME and USER if None.
    """
    shown = shown or str(path)
    text = _text(path, shown)
    complaint = other_text(text, shown) or other_system(text, shown)
    if complaint:
        raise UserError(complaint)
    first = _FIRST.match(text)
    shell = _kind(first[1]) if first else ""
    _check_first_line(text, shell, shown)
    try:
        return _read(path, text, shell, shown, _outside() if outside is None else outside)
    except RecursionError:
        raise UserError(
            f"{shown} has commands within commands, too many for hpcdl; expected a batch script"
        ) from None


def _read(path: Path, text: str, shell: str, shown: str, outside: dict[str, str]) -> BatchScript:
    root = parse(text)
    unread = unread_lines(root)
    complaint = None
    if unread or shell != "ksh":
        complaint = bash_complaint(text)
    if complaint is not None:
        line, reason = complaint
        advice = f"see which if, loop, quote or parenthesis is not closed: bash -n {quote(shown)}"
        blanks = [text for text in text.split("\n")[line - 1 : line] if _TO_FILL_IN.search(text)]
        if blanks:
            advice = f"a text in <...> stands for your own: {one_line(cut(blanks[0].strip()))}"
        raise UserError(
            f"{shown}:{line}: bash cannot read this script: {one_line(cut(reason))}; {advice}"
        )
    texts = _lines_of_texts(root)
    header = read_header(text, texts)
    directives = in_effect(header.read)
    walk = Walk(Scope(Values(outside), all(given.name != "chdir" for given in directives)))
    walk.scope.begin(_exported_by(directives))
    walk.script(root)
    _check_submits(walk.commands, header, shown)
    programs = [program_of(command) for command in walk.commands if not command.is_read]
    return BatchScript(
        path=path,
        text=text,
        shell=shell,
        directives=directives,
        all_directives=header.read,
        ignored=header.ignored,
        assignments=tuple(walk.scope.assignments),
        commands=tuple(walk.commands),
        programs=tuple(program for program in programs if program is not None),
        shown=shown,
        functions=tuple(walk.functions),
        uses=tuple(walk.uses),
        set_names=frozenset(set_in(root) | walk.set_names),
        unread=unread,
        texts=texts,
        components=header.components,
        faults=header.faults,
        bodies=walk.scope.bodies,
    )


def _lines_of_texts(root: Node) -> frozenset[int]:
    """The lines that begin within a text: a here-document, or quotes over several lines."""
    lines: set[int] = set()
    for node in descendants(root):
        if node.type in _TEXTS:
            behind = 0 if node.type == "heredoc_body" else 1  # quotes open within their first line
            lines.update(range(line_of(node) + behind, node.end_point[0] + 2))
    return frozenset(lines)


def _text(path: Path, shown: str) -> str:
    """What is in the file."""
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise UserError(f"{shown} is not a file; expected a batch script for sbatch")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{shown} cannot be read: {reason}; see whether it is there, and who may read it: "
            f"ls -l {quote(shown)}"
        ) from None
    if len(content) > LARGEST:
        raise UserError(
            f"{shown} is larger than 256 KB; expected a batch script, a short text: "
            f"let the script read its data from a file of its own"
        )
    if b"\0" in content:
        raise UserError(f"{shown} is not a text file; expected a batch script for sbatch")
    return content.decode("utf-8", errors="surrogateescape")


def _check_first_line(text: str, shell: str, shown: str) -> None:
    """The first line names a shell that we read, and no line ends as on Windows."""
    if not text.strip():
        raise UserError(f"{shown} is empty; expected a batch script for sbatch")
    if text.startswith("\ufeff"):
        raise UserError(
            f"{shown}:1: an editor has put an invisible mark (a BOM) before #!, so that sbatch "
            f"refuses the script; remove it with: sed -i '1s/^\\xef\\xbb\\xbf//' {quote(shown)}"
        )
    if not text.startswith("#!"):
        raise UserError(
            f"{shown}:1: sbatch wants a first line that names a shell; write above all others: "
            f"#!/bin/bash"
        )
    if "\r\n" in text:
        line = text[: text.index("\r\n")].count("\n") + 1
        raise UserError(
            f"{shown}:{line}: its lines end as on Windows (CR LF), which sbatch refuses; "
            f"mend it with: sed -i 's/\\r$//' {quote(shown)}"
        )
    if shell not in _SHELLS:
        raise UserError(
            f"{shown}:1: it is a script for {one_line(cut(shell)) or 'an unknown program'}, and "
            f"hpcdl reads batch scripts for bash and sh; sbatch takes it as it is, or write it for "
            f"bash: #!/bin/bash"
        )


def _check_submits(commands: list[Command], header: Header, shown: str) -> None:
    """A script without directives that hands another one to sbatch is no batch script itself."""
    for command in commands:
        if header.read or not any(word.text == "sbatch" for word in command.words[:1]):
            continue
        if command.heredoc is not None or command.reads_pipe:
            inner = hpcdl_command("check", "inner.slurm")
            raise UserError(
                f"{shown}:{command.line}: this script writes a batch script and pipes it into "
                f"sbatch; it is not one itself. Let it write the inner one into a file "
                f"(cat > inner.slurm in place of sbatch), and look at that: {inner}"
            )


def _exported_by(directives: tuple[Directive, ...]) -> set[str]:
    """The variables that programs see by --export=NAME=value, whatever the script sets them to."""
    names = set()
    for given in directives:
        if given.name == "export":
            for part in (given.value or "").split(","):
                names.add(part.partition("=")[0].strip())
    return names - {"ALL", "NONE", "NIL", ""}


def _kind(program: str) -> str:
    """A program's name without a version: python3.11 is python."""
    return re.sub(r"[\d.]+$", "", program)


def _outside() -> dict[str, str]:
    """What every job has: the user's home and name."""
    found = {"HOME": os.path.expanduser("~")}
    user = os.environ.get("USER") or os.environ.get("LOGNAME")
    return {**found, "USER": user} if user else found
