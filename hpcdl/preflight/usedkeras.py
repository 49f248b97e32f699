"""Which Keras a job's programs use: keras, or tf.keras, which TF_USE_LEGACY_KERAS makes tf-keras."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hpcdl.planning import Plan
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import names_used
from hpcdl.preflight.ask_image import LEGACY_KERAS
from hpcdl.preflight.looking import TF_KERAS
from hpcdl.preflight.packages import is_missing
from hpcdl.usercode.notebook import where

ASKS = ("1", "true", "True")  # as TensorFlow's lazy_loader.py reads it
# os.environ["TF_USE_LEGACY_KERAS"] = "1", and the same with setdefault and update
_SETS = re.compile(
    r"(?m)^[^#\n]*environ(?:\[|\.setdefault\(|\.update\(\{)\s*"
    rf"['\"]{LEGACY_KERAS}['\"]\s*(?:\]\s*=|,|:)\s*['\"](?P<value>\w*)['\"]"
)
_SPEAKS = re.compile(rf"(?m)^[^#\n]*{LEGACY_KERAS}")


def plan_to_ask(plan: Plan, sources: Mapping[str, str]) -> Plan:
    """The plan with the TF_USE_LEGACY_KERAS that the job's programs set themselves."""
    for source in sources.values():
        sets = _SETS.search(source)
        if sets:
            return replace(plan, env={**plan.env, LEGACY_KERAS: sets["value"]})
    return plan


def is_unclear(source: str) -> bool:
    """Whether a program speaks of TF_USE_LEGACY_KERAS in another way than `plan_to_ask` reads."""
    return _SPEAKS.search(source) is not None and not _SETS.search(source)


def keras_of(source: str, facts: Mapping[str, Any]) -> str:
    """The version of the Keras that a program uses; nothing where it uses two, or none is known.

    Args:
        source: the program's text.
        facts: what the image has, asked with `plan_to_ask`.
    """
    if is_unclear(source):
        return ""
    package, of_tensorflow = ((facts[name] or [""])[0] for name in ("keras", TF_KERAS))
    names = names_used(source)
    if not any(name.partition(".")[0] == "keras" for name in names):
        return str(of_tensorflow)
    uses_both = any(f"{name}.".startswith(f"{TF_KERAS}.") for name in names)
    return "" if uses_both and package != of_tensorflow else str(package)


def tf_keras(
    subject: Subject, sources: Mapping[str, str], facts: Mapping[str, Any]
) -> Iterator[Finding]:
    """The Keras that TensorFlow is told to use is in the image."""
    used = facts[TF_KERAS]
    plan = subject.submission.plan
    if used is None or used[0] or is_missing(plan):
        return
    place, at_once = first_use(sources)
    if subject.submission.spec is None and not place:
        return
    asked = plan_to_ask(plan, sources).env.get(LEGACY_KERAS) in ASKS
    cause = f"tensorflow.keras fails in {plan.image}: {used[1]}"
    fix = "use another image"
    if (
        asked or (facts["keras"] or [""])[0]
    ):  # nothing else keeps TensorFlow from a Keras that is there
        cause = f"{LEGACY_KERAS} asks for tf-keras, which cannot be imported in {plan.image}"
        version = ".".join(facts["tensorflow"][0].split(".")[:2])
        install = f"name tf-keras=={version}.* in a requirements file (packages:)"
        fix = f"{install}, or take {LEGACY_KERAS} out"
    key = f"env.{LEGACY_KERAS}" if LEGACY_KERAS in subject.submission.job.env else "container"
    blocks = subject.submission.spec is not None or at_once
    yield Finding(f"{place}{cause}", fix, "job", key, blocks)


def first_use(sources: Mapping[str, str]) -> tuple[str, bool]:
    """Where programs use tf.keras first, to begin a sentence, and whether as soon as they start."""
    uses: list[tuple[bool, str]] = []
    for file, source in sources.items():
        for name, (line, at_once) in names_used(source).items():
            if f"{name}.".startswith(f"{TF_KERAS}."):
                uses.append((not at_once, f"{where(file, source, line)}: "))
    uses.sort(key=lambda use: use[0])
    return (uses[0][1], not uses[0][0]) if uses else ("", False)
