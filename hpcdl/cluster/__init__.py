"""Where jobs run: finds a cluster profile and reads it into a `Cluster`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hpcdl.cluster.schema import Cluster, Image, Node
from hpcdl.errors import ClusterError, Problem, UserError
from hpcdl.job import apply_sets
from hpcdl.job.reader import Located, read_yaml
from hpcdl.job.walker import Walker, did_you_mean, show

__all__ = ["Cluster", "Image", "Node", "built_in_profiles", "choose_cluster", "load_cluster"]

_PROFILES = Path(__file__).parent / "profiles"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:@+/-]*")
_PLACES = re.compile(r"\{([^{}]*)\}")


def built_in_profiles() -> dict[str, Path]:
    """The profiles that ship with hpcdl: name to file."""
    return {path.stem: path for path in sorted(_PROFILES.glob("*.yaml"))}


def choose_cluster(given: str | None) -> str:
    """The profile to use: ``--cluster``, else HPCDL_CLUSTER, else the one whose ``detect`` fits this host.

    Raises:
        UserError: none of these names one; the message lists the profiles.
    """
    chosen = given or os.environ.get("HPCDL_CLUSTER")
    if chosen:
        return chosen
    from socket import getfqdn

    host = getfqdn()
    for name, path in built_in_profiles().items():
        for line in re.findall(r"^detect:\s*\[(.*?)\]\s*(?:#|$)", path.read_text(encoding="utf-8"), re.MULTILINE):
            if any(fnmatchcase(host, pattern.strip(" '\"")) for pattern in line.split(",")):
                return name
    names = ", ".join(built_in_profiles())
    raise UserError(
        f"which cluster? This host ({host}) fits no profile. Say --cluster NAME or FILE, or set HPCDL_CLUSTER; "
        f"known are {names}"
    )


def load_cluster(name: str | os.PathLike[str], sets: Sequence[str] = ()) -> Cluster:
    """Read a profile.

    Args:
        name: a built-in profile's name, or a path to a profile file.
        sets: ``key.path=value`` texts that override it, each beginning with ``cluster.``.

    Raises:
        ClusterError: all that is wrong in it, with places.
        UserError: there is no such profile.
    """
    text, shown = _text(os.fspath(name))
    problems: list[Problem] = []
    document = read_yaml(text, shown, problems)
    if document is not None:
        apply_sets(document, sets, problems, "cluster.")
        walker = Walker(problems, {Image: _image})
        cluster = walker.fill(Cluster, document)
        if isinstance(document.value, dict):
            _check_words(document, walker)
        if cluster is not None and not problems:
            cluster = _fill_places(cluster, shown, problems)
        if cluster is not None and not problems:
            return cluster
    raise ClusterError(shown, problems)


def _text(name: str) -> tuple[str, str]:
    """A profile's text, and how to call it in messages."""
    known = built_in_profiles()
    path = known.get(name, Path(name))
    try:
        return path.read_text(encoding="utf-8"), (f"profile {name}" if name in known else name)
    except (OSError, UnicodeDecodeError) as error:
        if "/" in name or name.endswith((".yaml", ".yml")):
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"cannot read the cluster profile {name}: {reason}") from error
        raise UserError(
            f"there is no cluster profile {name!r} (a path to a file ends in .yaml){did_you_mean(name, known)}"
        ) from error


def _image(walker: Walker, item: Located, key: str) -> Image | None:
    if isinstance(item.value, str):
        return Image(item.value)
    return walker.fill(Image, item, key)


def _check_words(document: Located, walker: Walker) -> None:
    """Values that go into #SBATCH lines or onto a module line must be plain words."""
    for key in ("name", "account", "partition", "qos", "gpu_type", "runtime"):
        item = document.value.get(key)
        if item and item.raw and not _WORD.fullmatch(item.raw) and not (key == "runtime" and item.raw.startswith("/")):
            walker.add(item, key, f"expected one plain word; got {show(item.raw)}")
    for key in ("modules", "host_modules"):
        item = document.value.get(key)
        for i, module in enumerate(item.value if item and isinstance(item.value, list) else []):
            if not _WORD.fullmatch(module.raw or ""):
                walker.add(module, f"{key}[{i}]", f"expected a module's name; got {show(module.plain())}")


def _fill_places(cluster: Cluster, shown: str, problems: list[Problem]) -> Cluster:
    """Fill {account} and {user} in paths, and expand ~."""
    import getpass

    missing = False

    def fill(text: str) -> str:
        nonlocal missing

        def place(match: re.Match[str]) -> str:
            nonlocal missing
            if match[1] == "user":
                return getpass.getuser()
            if match[1] == "account":
                missing = missing or not cluster.account
                return cluster.account or ""
            problems.append(Problem(shown, "", f"{match[0]} in {text}: only {{account}} and {{user}} are known"))
            return ""

        return os.path.expanduser(_PLACES.sub(place, text))

    changes: dict[str, Any] = {
        "images": {name: replace(image, path=fill(image.path)) for name, image in cluster.images.items()},
        "binds": [fill(bind) for bind in cluster.binds],
        "data_root": os.path.abspath(fill(cluster.data_root)),
        "runs_root": os.path.abspath(fill(cluster.runs_root)),
    }
    for key in ("scratch", "host_python"):
        value = getattr(cluster, key)
        changes[key] = fill(value) if value else value
    if missing:
        problems.append(Problem(shown, "account", "is needed here: --set cluster.account=<your group>"))
    return replace(cluster, **changes)
