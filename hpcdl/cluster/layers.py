"""The layers of a site's values, the weakest first; each value keeps its place.

profile < user's config.yaml < ./hpcdl.yaml < job < --set
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Optional

from hpcdl.contract.settings import setting
from hpcdl.environment import expand
from hpcdl.errors import Problem
from hpcdl.job import apply_sets
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located, decode, read_yaml
from hpcdl.yamlfile.walker import Walker

FOLDER_FILE = "hpcdl.yaml"
# Programs that hpcdl starts on this machine, as `hpcdl check` does: whoever copies a folder or a
# job must not get any of them with it.
PROGRAMS = ("runtime", "module_init", "host_python")
_OWN = "names a program that is started here: it goes into a profile, your own config.yaml or --set"


@dataclass(frozen=True)
class Settings:
    """The keys of ``~/.config/hpcdl/config.yaml`` and ``./hpcdl.yaml``."""

    cluster: Optional[str] = setting(
        "the profile where none is named: a name, or in your own config.yaml a file", None
    )
    profiles: dict[str, Any] = setting(
        "a profile's name: {keys of that profile to be otherwise}", {}
    )


def user_file() -> Path:
    """The user's own config file, which need not be there."""
    return Path(
        os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "hpcdl", "config.yaml"
    )


def shown(path: Path) -> str:
    """How messages call a file: below the home folder with ``~``."""
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def settings(built_in: Mapping[str, Path], problems: list[Problem]) -> list[Located]:
    """The settings files that are there, the stronger one last.

    Args:
        built_in: the built-in profiles.
        problems: where their problems are added.
    """
    documents = []
    for path in (user_file(), Path(FOLDER_FILE)):
        document = _read(path, problems)
        if document is None:
            continue
        walker = Walker(problems)
        walker.fill(Settings, document)
        if isinstance(document.value, dict):
            _check(document, built_in, walker, shared=path.name == FOLDER_FILE)
            documents.append(document)
    return documents


def chosen(files: Sequence[Located], built_in: Mapping[str, Path]) -> str | None:
    """The profile that the settings files name: of two, the stronger one's."""
    for document in reversed(files):
        item = document.value.get("cluster")
        if item is not None and isinstance(item.raw, str) and item.value is not None:
            if item.raw in built_in:
                return item.raw
            with suppress(ValueError):  # it was reported
                return os.path.normpath(user_file().parent / os.path.expanduser(expand(item.raw)))
    return None


def over(
    profile: Located,
    files: Sequence[Located],
    built_in: Iterable[str],
    job: Mapping[str, Located],
    sets: Sequence[str],
    problems: list[Problem],
) -> Located:
    """The profile with all layers over it.

    Args:
        profile: the profile's document.
        files: the settings files, the stronger one last.
        built_in: the names of the built-in profiles.
        job: the job's ``cluster`` section.
        sets: ``cluster.KEY=value`` texts.
        problems: where problems are added.
    """
    name = profile.value.get("name")
    layers = [profile]
    for document in files:
        section = _profiles(document).get(name.raw) if name else None
        if section is not None and isinstance(section.value, dict):
            layers.append(section)
    if files:
        _check_names(files, [*([str(name.raw)] if name else []), *built_in], problems)
    _refuse_programs(job, Walker(problems), "cluster.")
    typed = Located({}, profile.where)
    apply_sets(typed, sets, problems, "cluster.")
    layers += [Located(dict(job), profile.where), typed]
    partition = _merge(layers).value.get("partition")
    # The chosen partition's node and gpu_type replace those of the same layer, of none above it.
    return _merge([_at(layer, partition.raw if partition else None) for layer in layers])


def _read(path: Path, problems: list[Problem]) -> Located | None:
    name = shown(path) if path.is_absolute() else str(path)
    try:
        text = decode(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(Problem(name, "", f"cannot be read: {error.strerror}"))
        return None
    except ValueError as error:
        problems.append(Problem(name, "", str(error)))
        return None
    return read_yaml(text, name, problems)


def _check(document: Located, built_in: Mapping[str, Path], walker: Walker, shared: bool) -> None:
    """What types cannot say.

    Args:
        document: a settings file.
        built_in: the built-in profiles.
        walker: gets the problems.
        shared: whether the file may have come with a folder that somebody else made.
    """
    cluster = document.value.get("cluster")
    if cluster is not None and cluster.raw and cluster.raw not in built_in:
        message = _about_profile(cluster.raw, built_in, shared)
        if message:
            walker.add(cluster, "cluster", message)
    for name, section in _profiles(document).items():
        if not isinstance(section.value, dict):
            message = f"expected a section of profile keys; got {show(section.plain())}"
            walker.add(section, f"profiles.{name}", message)
        elif shared:
            _refuse_programs(section.value, walker, f"profiles.{name}.")


def _about_profile(name: str, built_in: Mapping[str, Path], shared: bool) -> str:
    """What is wrong with the name or file of a profile that is not built in; empty if nothing."""
    if shared:
        close = did_you_mean(name, built_in)
        only = "a file is named by you: --cluster, or hpcdl init"
        return f"expected a built-in profile ({only}){close}"
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        close = did_you_mean(name, built_in)
        return f"there is no profile {show(name)}{close} (a file ends in .yaml)"
    try:
        expand(name)
    except ValueError as error:
        return str(error)
    return ""


def _profiles(document: Located) -> dict[str, Located]:
    """The sections under ``profiles`` of a settings file."""
    sections = document.value.get("profiles")
    if sections is None or not isinstance(sections.value, dict):
        return {}
    sections_by_name: dict[str, Located] = sections.value
    return sections_by_name


def _check_names(
    files: Sequence[Located], built_in: Sequence[str], problems: list[Problem]
) -> None:
    """Refuse a section whose name is nearly that of a profile without one: it has no effect."""
    sections = [pair for document in files for pair in _profiles(document).items()]
    unknown = [(name, section) for name, section in sections if name not in built_in]
    if not unknown:
        return
    from difflib import get_close_matches  # mostly not needed, and every command would wait for it

    with_section = {name for name, _ in sections}
    without_section = [name for name in built_in if name not in with_section]
    for name, section in unknown:
        close = get_close_matches(str(name), without_section, n=1, cutoff=0.75)
        if close:
            message = (
                f"there is no such profile; did you mean {close[0]}? (a file of your own may be "
                f"called {name}: then put {close[0]}: {{}} next to it)"
            )
            Walker(problems).add(section, f"profiles.{name}", message)


def _refuse_programs(section: Mapping[str, Located], walker: Walker, prefix: str) -> None:
    for key in PROGRAMS:
        if key in section:
            walker.add(section[key], f"{prefix}{key}", _OWN)


def _merge(layers: Sequence[Located]) -> Located:
    return reduce(_over, layers)


def _over(low: Located, high: Located) -> Located:
    """Sections are joined key by key; anything else is replaced."""
    if not isinstance(low.value, dict) or not isinstance(high.value, dict):
        return high
    joined = dict(low.value)
    for key, item in high.value.items():
        if key in low.value:
            item = _over(low.value[key], item)
        joined[key] = item
    return Located(joined, low.where)


def _at(layer: Located, partition: str | None) -> Located:
    """A layer as it is in one of its partitions."""
    choices = layer.value.get("partitions")
    if choices is None or not isinstance(choices.value, dict):
        return layer
    choice = choices.value.get(partition)
    if choice is None or not isinstance(choice.value, dict):
        return layer
    own = {key: choice.value[key] for key in ("node", "gpu_type") if key in choice.value}
    return Located({**layer.value, **own}, layer.where)
