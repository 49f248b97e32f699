"""What the tab key offers: runs, jobs and profiles. Whatever goes wrong here, it offers nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from click import Context, Parameter
    from click.shell_completion import CompletionItem

    Names = Callable[[Context, Parameter, str], list[CompletionItem]]

_MOST = 200  # a shell shows no more at once


def runs(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs as ``NAME/ID``, the newest first, and folders."""
    from hpcdl.cluster.run_roots import run_roots

    folders: list[Path] = []
    try:
        roots, _ = run_roots(context.params.get("cluster"), context.params.get("runs_dir"))
        for root in roots:
            folders += root.glob("[!.]*/[!.]*/")
    except Exception:  # a profile that cannot be read, say: the command itself says so
        return _items([], incomplete)
    folders.sort(key=lambda folder: folder.name, reverse=True)
    return _items([f"{folder.parent.name}/{folder.name}" for folder in folders], incomplete)


def jobs(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """The jobs that ship, and files."""
    from hpcdl.job.find import shipped_jobs

    return _items(sorted(shipped_jobs()), incomplete)


def profiles(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """The built-in profiles, and files."""
    from hpcdl.cluster import built_in_profiles

    return _items(sorted(built_in_profiles()), incomplete)


def _items(names: list[str], incomplete: str) -> list[CompletionItem]:
    """The names that begin with the word so far; if none does, the shell's own files."""
    from click.shell_completion import CompletionItem

    fitting = [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
    if not fitting:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name) for name in fitting[:_MOST]]
