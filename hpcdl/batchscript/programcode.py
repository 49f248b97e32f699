"""The Python code behind a program of a script: its file on this machine, or text in the script."""

from __future__ import annotations

from pathlib import Path

from hpcdl.batchscript.folders import script_path
from hpcdl.batchscript.model import BatchScript, Program
from hpcdl.batchscript.pythoncode import Code, read_code, read_text_code


def code_of(script: BatchScript, program: Program, folder: Path | None) -> Code | None:
    """What is seen in a program's code; None where it is not at hand.

    Args:
        script: the script.
        program: one of its programs.
        folder: from where sbatch is called.
    """
    if program.python is None:
        return None
    if program.script is not None:
        path = script_path(script, program, folder)
        return read_code(path) if path is not None else None
    if program.module is not None:
        return None
    words = [word.text for word in program.python_options]
    if "-c" in words[:-1]:
        text = words[words.index("-c") + 1]
        return read_text_code(text) if text is not None else None
    if program.command.heredoc is not None:
        return read_text_code(program.command.heredoc)
    return None
