"""The built-in profiles as a list for people: where each site is, and which GPUs it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpcdl.cluster import built_in_profiles, profile_text
from hpcdl.errors import UserError
from hpcdl.text import did_you_mean
from hpcdl.yamlfile.reader import read_yaml


@dataclass(frozen=True)
class Site:
    """One built-in profile.

    Args:
        name: what ``--cluster`` takes.
        country: where it is; "" for a profile of no site.
        gpus: the GPUs of a node of each kind, such as ``4 x NVIDIA A100``.
        description: its own line.
    """

    name: str
    country: str
    gpus: list[str]
    description: str

    def as_json(self) -> dict[str, Any]:
        """The site as JSON has it."""
        return asdict(self)


def sites(country: str | None = None, gpu: str | None = None) -> list[Site]:
    """The built-in profiles; only those that fit, if there is something to fit.

    Args:
        country: the country's name, in any case.
        gpu: a part of the GPUs' name, in any case, such as h100 or amd.

    Raises:
        UserError: no profile fits; the message says what there is.
    """
    every = [_site(name) for name in built_in_profiles()]
    fitting = [site for site in every if _fits(site, country, gpu)]
    if fitting:
        return fitting
    raise UserError(_none_fits(every, country, gpu))


def _fits(site: Site, country: str | None, gpu: str | None) -> bool:
    if country is not None and site.country.lower() != country.strip().lower():
        return False
    return gpu is None or any(gpu.strip().lower() in kind.lower() for kind in site.gpus)


def _none_fits(every: Sequence[Site], country: str | None, gpu: str | None) -> str:
    """What to say where nothing fits: what was asked for, and what there is."""
    countries = _sorted(site.country for site in every)
    models = _sorted(kind.partition(" x ")[2] for site in every for kind in site.gpus)
    parts = []
    if country is not None:
        close = did_you_mean(country.title(), countries, also="")
        parts.append(f"--country {country}{close}; there are {', '.join(countries)}")
    if gpu is not None:
        parts.append(f"--gpu {gpu}; there are {', '.join(models)}")
    return f"no built-in profile fits {' and '.join(parts)}"


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name})


def _site(name: str) -> Site:
    """A profile as it is written: the user's own changes do not count."""
    document = read_yaml(profile_text(name), name, [])
    keys: dict[str, Any] = document.plain() if document is not None else {}
    return Site(name, keys.get("country") or "", _gpus(keys), keys.get("description") or "")


def _gpus(keys: dict[str, Any]) -> list[str]:
    """The GPUs of a node, the profile's own first, then those of other partitions."""
    choices = (keys.get("partitions") or {}).values()
    kinds = []
    for node in (keys.get("node") or {}, *(choice.get("node") or {} for choice in choices)):
        if node.get("gpus") and node.get("gpu_model"):
            kinds.append(f"{node['gpus']} x {node['gpu_model']}")
    return list(dict.fromkeys(kinds))
