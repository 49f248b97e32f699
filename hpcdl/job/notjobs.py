"""What to say of a file or folder that is given as a job but is not one."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from hpcdl.job.names import job_name
from hpcdl.text import hpcdl_command

SHELL_SUFFIXES = (".slurm", ".sbatch", ".sh", ".bash", ".job")
LARGEST_JOB = 1_000_000  # bytes; a job file has a few hundred

_OFFICE = "a document of a word processor; a job file is plain text: write it with a text editor"
_ZIPPED = {
    ".npz": "a data set; a job file names it: data: {path: %s}",
    ".keras": "a saved Keras model; expected a job file or a script that uses it",
    ".docx": _OFFICE,
    ".odt": _OFFICE,
}
_BEGINNINGS = {
    b"%PDF": "a PDF document; a job file is plain text: write it with a text editor",
    b"{\\rtf": _OFFICE,
    b"\xd0\xcf\x11\xe0": _OFFICE,
    b"\x89HDF": "an HDF5 file; a job file names it, as in model: {backbone: VGG16, weights: %s}",
    b"\x1f\x8b": "a compressed file; unpack it first, and give the job file in it",
}
_SHELL = re.compile(r"#!\s*\S*(?:/|env\s+)(?:ba|z|k|c|tc|da)?sh\b")
_OF_RUNS = ("run.json", "plan.json", "manifest.json", "result.json", "submitted.json")


def about_file(path: Path, head: bytes, shown: str) -> str | None:
    """What to say of a file that cannot be a job file; None where it may be one.

    Args:
        path: the file.
        head: its first bytes, at most one more than a job file may have.
        shown: how the user calls it.
    """
    kind = _kind(path, head)
    if kind:
        return f"{shown} is {kind.replace('%s', path.name)}"
    if len(head) > LARGEST_JOB:
        return f"{shown} is larger than {LARGEST_JOB:,} bytes; expected a job file, a short text"
    text = head.decode("utf-8", errors="replace")
    first = text.partition("\n")[0]
    if first.startswith("#!") and "python" in first:
        return f"{shown} is a Python script; its name must end in .py: mv {shown} {shown}.py"
    if is_shell_script(path.name, text):
        return _about_batch_script(path, shown)
    if path.name in _OF_RUNS and (path.parent / "job.yaml").exists():
        job = os.path.join(os.path.dirname(shown), "job.yaml")
        return f"{shown} is a file of a run; that run's job file is {job}"
    return None


def about_folder(path: Path, shown: str, ships: bool = False) -> str:
    """What to say of a folder that was given as a job.

    Args:
        path: the folder.
        shown: how the user calls it.
        ships: whether a job that ships with hpcdl has that name.
    """
    folder = shown.rstrip("/") or "/"
    if (path / "manifest.json").exists() and (path / "job.yaml").exists():
        again = f"{hpcdl_command('submit', folder + '/job.yaml')} starts a new one"
        resume = f"{hpcdl_command('resume', folder)} goes on with it"
        return f"{shown} is a run's folder, not a job file: {again}, {resume}"
    if (path / "job.sbatch").exists():
        how = f"cd {shlex.quote(folder)} && sbatch job.sbatch"
        return f"{shown} is a folder that hpcdl render made; send it with: {how}"
    close = copy = ""
    names = _could_be_meant(path)
    if names:
        close = f"; did you mean {' or '.join(f'{folder}/{name}' for name in names)}?"
    if ships:
        copy = f" (for the shipped job of that name: hpcdl jobs copy {shown})"
    return f"{shown} is a folder; expected a job file or a script{close}{copy}"


def _about_batch_script(path: Path, shown: str) -> str:
    """What to do with a batch script: look at it, make a job file of it, or send it as it is."""
    job = os.path.join(os.path.dirname(shown), f"{job_name(path.stem)}.yaml")
    return (
        f"{shown} is a batch script, not a job file: "
        f"{hpcdl_command('check', shown)} looks at it as it is, "
        f"{hpcdl_command('adopt', shown, '-o', job)} writes the job file that does the same, "
        f"and sbatch {shlex.quote(shown)} sends it"
    )


def is_shell_script(name: str, text: str) -> bool:
    """Whether a text is a shell script, most likely one for sbatch."""
    if name.endswith(SHELL_SUFFIXES):
        return True
    return bool(_SHELL.match(text) or re.search(r"^#SBATCH\s", text, re.MULTILINE))


def _could_be_meant(folder: Path) -> list[str]:
    """A few job files in a folder, or else scripts."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    for endings in ((".yaml", ".yml"), (".py", ".ipynb")):
        fitting = [name for name in names if name.endswith(endings)]
        if fitting:
            return fitting[:3]
    return []


def _kind(path: Path, head: bytes) -> str | None:
    """What a binary file is, in words; None for text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None  # UTF-16 text: whoever decodes it says so
    if b"SIF_MAGIC" in head[:64]:
        return "a container image; a job file names it: container: %s"
    if head.startswith(b"PK\x03\x04"):
        return _ZIPPED.get(
            path.suffix, "a zip archive; unpack it first, and give the job file in it"
        )
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if b"\0" in head[:1000] and not _looks_like_utf16(head):
        return "not a text file; expected a job file (.yaml) or a script (.py, .ipynb)"
    return None


def _looks_like_utf16(head: bytes) -> bool:
    """Whether nearly every second byte is NUL, as in Latin text of two bytes a letter."""
    sample = head[:200]
    half = max(1, len(sample) // 2)
    few, many = sorted((sample[::2].count(0), sample[1::2].count(0)))
    return many > 0.8 * half and few < 0.2 * half
