"""The rules of a profile that types and bounds cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpcdl.cluster.schema import OWN_VARIABLES, Cluster
from hpcdl.job import parse_time
from hpcdl.job.sections import WITHOUT_END
from hpcdl.text import did_you_mean, show
from hpcdl.yamlfile.reader import Located
from hpcdl.yamlfile.walker import Walker

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:@+/-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_words(document: Located, walker: Walker) -> None:
    """Values that go into #SBATCH lines or onto a module line must be plain words."""

    def inner(key: str) -> Iterable[tuple[str, Located]]:
        item = document.value.get(key)
        if item is not None and isinstance(item.value, list):
            return [(f"{key}[{i}]", each) for i, each in enumerate(item.value)]
        return (
            [(f"{key}.{name}", each) for name, each in item.value.items()]
            if item and _is_section(item)
            else []
        )

    clusters = document.value.get("clusters")
    if clusters is not None and clusters.raw and ("," in clusters.raw or clusters.raw == "all"):
        walker.add(clusters, "clusters", f"expected one SLURM cluster; got {show(clusters.raw)}")
    words = (
        "name",
        "account",
        "partition",
        "qos",
        "gpu_type",
        "scratch_gres",
        "architecture",
        "runtime",
        "clusters",
    )
    for key in words:
        item = document.value.get(key)
        if item is None or item.raw is None or (key == "runtime" and item.raw.startswith("/")):
            continue
        needed = key in ("name", "runtime")  # the others may be empty: then there is none
        if (item.raw or needed) and not _WORD.fullmatch(item.raw):
            walker.add(item, key, f"expected one plain word; got {show(item.raw)}")
    for key, item in (*inner("partitions"), *inner("qos_choices")):
        name = key.partition(".")[2]
        if not _WORD.fullmatch(name) or "," in name:
            walker.add(item, key, f"expected one plain word; got {show(name)}")
        kind = item.value.get("gpu_type") if _is_section(item) else None
        if kind and kind.raw and not _WORD.fullmatch(kind.raw):
            walker.add(kind, f"{key}.gpu_type", f"expected one plain word; got {show(kind.raw)}")
    for key, item in (*inner("modules"), *inner("host_modules")):
        if not _WORD.fullmatch(item.raw or ""):
            walker.add(item, key, f"expected a module's name; got {show(item.plain())}")
    for key, item in inner("pass_env"):
        if not _VARIABLE.fullmatch(item.raw or ""):
            walker.add(item, key, f"expected a variable's name; got {show(item.plain())}")
        elif item.raw in OWN_VARIABLES:
            walker.add(item, key, f"{item.raw} is set by hpcdl")


def _is_section(item: Located) -> bool:
    return isinstance(item.value, dict)


def check_times(document: Located, walker: Walker) -> None:
    """A max_time is written as resources.time is."""

    def check(item: Located, key: str) -> None:
        limit = item.value.get("max_time") if _is_section(item) else None
        if limit is not None and limit.raw and limit.value is not None:
            if limit.raw.lower() in WITHOUT_END:
                walker.add(
                    limit,
                    f"{key}max_time",
                    f"leave it out where there is no limit; got {show(limit.raw)}",
                )
                return
            try:
                parse_time(limit.raw)
            except ValueError as error:
                walker.add(limit, f"{key}max_time", str(error))

    check(document, "")
    for key in ("partitions", "qos_choices"):
        section = document.value.get(key)
        for name, item in (
            section.value.items() if section is not None and _is_section(section) else ()
        ):
            check(item, f"{key}.{name}.")


def check_choices(cluster: Cluster, document: Located, walker: Walker) -> None:
    """Where the profile lists the choices, what is chosen must be one of them.

    SLURM compares accounts and QoS without case, and partitions with it.
    """
    if cluster.gpu_request == "none" and cluster.memory_request == "mem-per-gpu":
        message = "expected none, mem or mem-per-cpu, as gpu_request is none; got 'mem-per-gpu'"
        walker.add(document.value["memory_request"], "memory_request", message)
    for key, among in (
        ("account", "accounts"),
        ("partition", "partitions"),
        ("qos", "qos_choices"),
    ):
        given, choices = getattr(cluster, key), getattr(cluster, among)
        for name in (given or "").split(",") if choices else ():
            same = key != "partition" and name.lower() in {choice.lower() for choice in choices}
            if name and name not in choices and not same:
                close = did_you_mean(name, choices, also="")
                message = f"expected one of {', '.join(choices)}, as cluster.{among} lists; got {show(name)}{close}"
                walker.add(document.value[key], key, message)
