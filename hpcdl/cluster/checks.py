"""The rules of a profile that types and bounds cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hpcdl.cluster.ports import ports_of
from hpcdl.cluster.schema import OWN_VARIABLES, Cluster
from hpcdl.job import parse_time
from hpcdl.job.sections import WITHOUT_END
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:@+/-]*")
_FEATURES = re.compile(r"[A-Za-z0-9(\[][A-Za-z0-9_.,:@+/&|*()\[\]-]*")  # as in gpu&hbm80g
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_WORDS = (
    *("name", "account", "partition", "qos", "gpu_type"),
    *("scratch_gres", "architecture", "runtime", "clusters"),
)
_CHOSEN_FROM = {"account": "accounts", "partition": "partitions", "qos": "qos_choices"}


def check_words(document: Located, walker: Walker) -> None:
    """Values that go into #SBATCH lines or onto a module line must be plain words."""
    _check_single_words(document, walker)
    for section in ("partitions", "qos_choices"):
        for name, item in document.items_of(section).items():
            _check_choice(name, item, f"{section}.{name}", walker)
    for modules in ("modules", "host_modules"):
        for key, item in _entries(document, modules):
            if not _WORD.fullmatch(item.raw or ""):
                walker.add(item, key, f"expected a module's name; got {show(item.plain())}")
    for key, item in _entries(document, "pass_env"):
        if not _VARIABLE.fullmatch(item.raw or ""):
            walker.add(item, key, f"expected a variable's name; got {show(item.plain())}")
        elif item.raw in OWN_VARIABLES:
            walker.add(item, key, f"{item.raw} is set by hpcdl")


def _check_single_words(document: Located, walker: Walker) -> None:
    clusters = document.value.get("clusters")
    if clusters is not None and clusters.raw and ("," in clusters.raw or clusters.raw == "all"):
        walker.add(clusters, "clusters", f"expected one SLURM cluster; got {show(clusters.raw)}")
    for key in _PLAIN_WORDS:
        item = document.value.get(key)
        if item is None or item.raw is None or (key == "runtime" and item.raw.startswith("/")):
            continue
        needed = key in ("name", "runtime")  # the others may be empty: then they are not set
        if item.raw or needed:
            _check_word(item.raw, item, key, walker)
    features = document.value.get("constraint")
    if features is not None and features.raw and not _FEATURES.fullmatch(features.raw):
        expected = "expected features of nodes without blanks, such as gpu or gpu&hbm80g"
        walker.add(features, "constraint", f"{expected}; got {show(features.raw)}")


def check_ports(document: Located, walker: Walker) -> None:
    """The workers' ports are a range."""
    item = document.value.get("worker_ports")
    if item is None or item.value is None:
        return
    try:
        ports_of(item.raw)
    except ValueError as error:
        walker.add(item, "worker_ports", str(error))


def check_times(document: Located, walker: Walker) -> None:
    """A max_time is written as resources.time is."""
    _check_max_time(document, "", walker)
    for section in ("partitions", "qos_choices"):
        for name, item in document.items_of(section).items():
            _check_max_time(item, f"{section}.{name}.", walker)


def check_memory_request(cluster: Cluster, document: Located, walker: Walker) -> None:
    """Memory of each GPU can be asked for where GPUs are."""
    if cluster.gpu_request == "none" and cluster.memory_request == "mem-per-gpu":
        message = "expected none, mem or mem-per-cpu, as gpu_request is none; got 'mem-per-gpu'"
        walker.add(document.value["memory_request"], "memory_request", message)


def check_choices(cluster: Cluster, document: Located, walker: Walker) -> None:
    """If the profile lists the choices, what is chosen must be one of them.

    SLURM compares accounts and QoS without case, and partitions with it.
    """
    for key, name, choices in unlisted(cluster):
        close = did_you_mean(name, choices, also="")
        listed = f"as cluster.{_CHOSEN_FROM[key]} lists"
        message = f"expected one of {', '.join(choices)}, {listed}; got {show(name)}{close}"
        walker.add(document.value[key], key, message)


def unlisted(cluster: Cluster) -> Iterator[tuple[str, str, list[str]]]:
    """What is chosen and is not in the profile's list: the key, the name, and the list."""
    for key, listed in _CHOSEN_FROM.items():
        choices = list(getattr(cluster, listed))
        for name in (getattr(cluster, key) or "").split(","):
            if choices and name and not _is_among(name, choices, with_case=key == "partition"):
                yield key, name, choices


def _check_word(text: str, item: Located, key: str, walker: Walker) -> None:
    if not _WORD.fullmatch(text):
        walker.add(item, key, f"expected one plain word; got {show(text)}")


def _check_choice(name: str, item: Located, key: str, walker: Walker) -> None:
    """A partition or QoS to choose: its name, and the type of its GPUs."""
    if not _WORD.fullmatch(name) or "," in name:
        walker.add(item, key, f"expected one plain word; got {show(name)}")
    if isinstance(item.value, dict):
        gpu_type = item.value.get("gpu_type")
        if gpu_type and gpu_type.raw:
            _check_word(gpu_type.raw, gpu_type, f"{key}.gpu_type", walker)


def _check_max_time(section: Located, prefix: str, walker: Walker) -> None:
    if not isinstance(section.value, dict):
        return
    limit = section.value.get("max_time")
    if limit is None or not limit.raw or limit.value is None:
        return
    key = f"{prefix}max_time"
    if limit.raw.lower() in WITHOUT_END:
        walker.add(limit, key, f"leave it out if there is no limit; got {show(limit.raw)}")
        return
    try:
        parse_time(limit.raw)
    except ValueError as error:
        walker.add(limit, key, str(error))


def _is_among(name: str, choices: Iterable[str], with_case: bool) -> bool:
    if with_case:
        return name in choices
    return name.lower() in {choice.lower() for choice in choices}


def _entries(document: Located, key: str) -> list[tuple[str, Located]]:
    """The entries of a list, each with its key; none if it is missing or not a list."""
    item = document.value.get(key)
    if item is None or not isinstance(item.value, list):
        return []
    return [(f"{key}[{number}]", entry) for number, entry in enumerate(item.value)]
