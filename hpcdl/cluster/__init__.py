"""Where jobs run: finds a cluster profile and reads it into a `Cluster`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpcdl.cluster import layers
from hpcdl.cluster.checks import (
    check_choices,
    check_memory_request,
    check_ports,
    check_times,
    check_words,
)
from hpcdl.cluster.schema import Cluster, Image, Node, PartitionChoice, QosChoice
from hpcdl.environment import expand, nobodys_home, slurm_cluster, user_name
from hpcdl.errors import ClusterError, Problem, UserError
from hpcdl.job import Job
from hpcdl.job.notify_section import check_notify
from hpcdl.text import did_you_mean
from hpcdl.yamlfile.reader import decode, read_yaml
from hpcdl.yamlfile.walker import Walker

__all__ = [
    "Cluster",
    "Image",
    "Node",
    "PartitionChoice",
    "QosChoice",
    "built_in_profiles",
    "choose_cluster",
    "fitting_cluster",
    "load_cluster",
    "named_cluster",
    "profile_text",
    "read_cluster",
]

_DISCOVER = "hpcdl cluster discover -o mycluster.yaml"
_PROFILES = Path(__file__).parent / "profiles"
VARIABLE = "HPCDL_CLUSTER"
_PLACES = re.compile(r"(?<!\$)\{([^{}]*)\}")


def built_in_profiles() -> dict[str, Path]:
    """The profiles that ship with hpcdl: name to file."""
    return _profiles_in(_PROFILES)


@lru_cache(maxsize=1)
def _profiles_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def choose_cluster(option: str | None) -> str:
    """The profile to use: the one that is named, or else what fits this host.

    Args:
        option: the option ``--cluster``.

    Raises:
        ClusterError: hpcdl.yaml or the user's config is wrong.
        UserError: none of these names one; the message lists the profiles.
    """
    name = named_cluster(option) or fitting_cluster()
    if name is None:
        import socket

        names = ", ".join(built_in_profiles())
        raise UserError(
            f"which cluster? This host ({socket.getfqdn()}) fits no profile. "
            "Say --cluster NAME or FILE, set HPCDL_CLUSTER, or keep one with hpcdl init; "
            f"known are {names}. For another site, on its login node: {_DISCOVER}"
        )
    return name


def named_cluster(option: str | None) -> str | None:
    """The profile that ``--cluster``, HPCDL_CLUSTER, ./hpcdl.yaml or the user's config names.

    Raises:
        ClusterError: hpcdl.yaml or the user's config is wrong.
        UserError: ``--cluster`` is empty.
    """
    if option is not None:
        if not option.strip():
            expected = "expected a profile's name or file (is a shell variable not set?)"
            raise UserError(f"--cluster is empty; {expected}")
        return option
    variable = os.environ.get(VARIABLE, "").strip()
    if variable:
        return variable
    problems: list[Problem] = []
    name = layers.chosen(layers.settings(built_in_profiles(), problems), built_in_profiles())
    if problems:
        raise ClusterError("settings", problems)
    return name


def fitting_cluster() -> str | None:
    """The built-in profile whose ``detect`` patterns fit this host's name."""
    import socket  # here: mostly a profile is named, and this is not needed

    host = socket.getfqdn()
    for name, path in built_in_profiles().items():
        text = path.read_text(encoding="utf-8")
        for line in re.findall(r"^detect:\s*\[(.*?)\]\s*(?:#|$)", text, re.MULTILINE):
            for pattern in line.split(","):
                if fnmatchcase(host, pattern.strip(" '\"")):
                    return name
    return None


def _of_variable(name: str) -> str:
    """What to add about a missing profile, if HPCDL_CLUSTER named it."""
    if name != os.environ.get(VARIABLE, "").strip():
        return ""
    if not _is_path(name) or os.path.isabs(os.path.expanduser(name)):
        return f"; {VARIABLE} names it: correct or unset that"
    whole_path = f"/whole/path/{os.path.basename(name)}"
    return (
        f"; {VARIABLE} names it, and a relative path is looked for in the folder where you are: "
        f"export {VARIABLE}={whole_path}, or keep it with hpcdl init --cluster FILE"
    )


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml"))


def _close(name: str) -> str:
    """The profile that is meant, most likely: a built-in one, or a file in this folder."""
    for path in sorted(Path().glob("*.y*ml")):
        if path.stem == name:
            return f"; did you mean {path}?"
    return did_you_mean(name, built_in_profiles())


def load_cluster(
    name: str | os.PathLike[str],
    sets: Sequence[str] = (),
    job: Job | None = None,
    of_script: bool = False,
) -> Cluster:
    """Read a profile, changed by the user's config, ./hpcdl.yaml, the job and ``sets``.

    Args:
        name: a built-in profile's name, or a path to a profile file.
        sets: ``key.path=value`` texts that override all else, each beginning with ``cluster.``.
        job: the job that it is for: its ``cluster`` section counts.
        of_script: whether the job is a batch script that only SLURM gets. It may choose what the
            profile does not list, and needs none of the profile's folders and images.

    Raises:
        ClusterError: all that is wrong in it, with places.
        UserError: there is no such profile.
    """
    problems: list[Problem] = []
    cluster = read_cluster(name, sets, job, of_script)
    if of_script:
        cluster = replace(cluster, images={}, binds=[], data_root=".", runs_root="runs")
    cluster = _fill_places(cluster, problems)
    if problems:
        raise ClusterError(_shown(os.fspath(name)), problems)
    return replace(
        cluster, clusters=cluster.clusters or slurm_cluster(), file=_file(os.fspath(name))
    )


def _file(name: str) -> str:
    """What stands for a profile in any folder: its name, or the whole path of its file."""
    return name if name in built_in_profiles() else os.path.abspath(os.path.expanduser(name))


def read_cluster(
    name: str | os.PathLike[str],
    sets: Sequence[str] = (),
    job: Job | None = None,
    any_choice: bool = False,
) -> Cluster:
    """The same with the paths as they are written: {account}, {user}, ~ and $NAME stay.

    Raises:
        ClusterError: all that is wrong in it, with places.
        UserError: there is no such profile.
    """
    text, shown = profile_text(os.fspath(name)), _shown(os.fspath(name))
    problems: list[Problem] = []
    document = read_yaml(text, shown, problems)
    files = layers.settings(built_in_profiles(), problems)
    if document is not None and not isinstance(document.value, dict):
        Walker(problems).fill(Cluster, document)
    elif document is not None:
        of_job = job.cluster if job else {}
        document = layers.over(document, files, built_in_profiles(), of_job, sets, problems)
        walker = Walker(problems)
        cluster = walker.fill(Cluster, document)
        check_words(document, walker)
        check_times(document, walker)
        check_ports(document, walker)
        if cluster is not None:
            check_notify(cluster.notify, document, {}, walker)
        if cluster is not None and not problems:
            check_memory_request(cluster, document, walker)
            if not any_choice:
                check_choices(cluster, document, walker)
        if cluster is not None and not problems:
            return replace(cluster, places=document.places())
    raise ClusterError(shown, problems)


def profile_text(name: str) -> str:
    """A profile's file, as it is written.

    Raises:
        UserError: there is no such profile.
    """
    path = built_in_profiles().get(name, Path(os.path.expanduser(name)))
    try:
        return decode(path.read_bytes())
    except ValueError as error:
        raise UserError(f"cannot read the cluster profile {name}: it {error}") from error
    except OSError as error:
        raise UserError(_cannot_read(name, path, error)) from error


def _cannot_read(name: str, path: Path, error: OSError) -> str:
    """What to say of a profile that cannot be read: by its path, or by its name."""
    if not _is_path(name):
        message = f"there is no cluster profile {name!r} (a path to a file ends in .yaml)"
        return f"{message}{_close(name)}{_of_variable(name)}"
    ships = ""
    if isinstance(error, FileNotFoundError):
        ships = f"; write one on a login node: {_DISCOVER}"
    if path.stem in built_in_profiles():
        ships = f"; the built-in profile is called {path.stem}: --cluster {path.stem}"
    message = f"cannot read the cluster profile {name}: {error.strerror}"
    return f"{message}{ships}{_of_variable(name)}"


def _shown(name: str) -> str:
    """How messages call a profile."""
    return f"profile {name}" if name in built_in_profiles() else name


def _whole(path: str) -> str:
    """The whole path of an image, which jobs use in other folders; an address stays as it is."""
    return path if re.match(r"[\w-]+://", path) or not path else os.path.abspath(path)


class _PathFiller:
    """Fills {account} and {user} in a profile's paths, and expands ~ and this shell's variables.

    Args:
        cluster: the profile, with its paths as they are written.
        problems: where problems are added.
    """

    def __init__(self, cluster: Cluster, problems: list[Problem]) -> None:
        self._cluster = cluster
        self._problems = problems
        self.lacks_account = False

    def fill(self, text: str, key: str) -> str:
        """The path that a text means. ``scratch`` keeps its variables: they are the node's."""
        path = _PLACES.sub(lambda match: self._place(match, text, key), text)
        if key != "scratch":
            try:
                path = expand(path)
            except ValueError as error:
                self._add(key, str(error))
        if nobodys_home(path):
            self._add(key, nobodys_home(path))
        return os.path.expanduser(path)

    def _place(self, match: re.Match[str], text: str, key: str) -> str:
        """What stands for one {name} in a text."""
        if match[1] == "user":
            return user_name()
        if match[1] == "account":
            if not self._cluster.account:
                self.lacks_account = True
            return self._cluster.account or ""
        self._add(key, f"{match[0]} in {text}: only {{account}} and {{user}} are known")
        return ""

    def _add(self, key: str, message: str) -> None:
        """Report a problem at the key's place, or at the profile's beginning if it has none."""
        places = self._cluster.places
        self._problems.append(Problem(places.get(key) or places[""], key, message))


def _fill_places(cluster: Cluster, problems: list[Problem]) -> Cluster:
    """The profile with whole paths."""
    filler = _PathFiller(cluster, problems)
    images = {}
    for name, image in cluster.images.items():
        key = f"images.{name}"
        images[name] = replace(image, path=_whole(filler.fill(image.path, key)))
    changes: dict[str, Any] = {
        "images": images,
        "binds": [filler.fill(bind, "binds") for bind in cluster.binds],
        "data_root": os.path.abspath(filler.fill(cluster.data_root, "data_root")),
        "runs_root": os.path.abspath(filler.fill(cluster.runs_root, "runs_root")),
    }
    if "/" in "".join(cluster.notify.command[:1]):
        program, *args = cluster.notify.command
        program = filler.fill(program, "notify.command")
        if not os.path.isabs(program):
            message = f"expected a whole path, or a name on PATH; got {program!r}"
            place = cluster.places["notify.command"]
            problems.append(Problem(place, "notify.command", message))
        changes["notify"] = replace(cluster.notify, command=[program, *args])
    for key in ("scratch", "host_python", "module_init"):
        value = getattr(cluster, key)
        if value:
            changes[key] = filler.fill(value, key)
    for name, image in cluster.images.items():
        if not image.path.strip():
            key = f"images.{name}"
            message = "is empty; expected the path of a .sif file"
            problems.append(Problem(cluster.places[key], key, message))
    if filler.lacks_account:
        where = cluster.places[""].rpartition(":")[0]
        message = "is needed here: --set cluster.account=<your group>, or keep it with hpcdl init"
        problems.append(Problem(where, "account", message))
    return replace(cluster, **changes)
