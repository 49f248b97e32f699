"""Which Keras a job's programs use: keras, or tf.keras, which may be the package tf-keras."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from hpcdl.in_image.names import TF_KERAS
from hpcdl.planning import Plan
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.api_names import names_used
from hpcdl.preflight.ask_image import LEGACY_KERAS, ImageFacts
from hpcdl.preflight.packages import is_missing
from hpcdl.usercode.notebook import where

TRUE_VALUES = ("1", "true", "True")  # by TensorFlow's lazy_loader.py
# os.environ["TF_USE_LEGACY_KERAS"] = "1", and the same with setdefault and update
_SETS = re.compile(
    r"(?m)^[^#\n]*environ(?:\[|\.setdefault\(|\.update\(\{)\s*"
    rf"['\"]{LEGACY_KERAS}['\"]\s*(?:\]\s*=|,|:)\s*['\"](?P<value>\w*)['\"]"
)
_MENTIONS = re.compile(rf"(?m)^[^#\n]*{LEGACY_KERAS}")


def plan_to_ask(plan: Plan, sources: Mapping[str, str]) -> Plan:
    """The plan with the value of TF_USE_LEGACY_KERAS that the job's programs set themselves."""
    for source in sources.values():
        sets = _SETS.search(source)
        if sets:
            env = {**plan.environment.env, LEGACY_KERAS: sets["value"]}
            return replace(plan, environment=replace(plan.environment, env=env))
    return plan


def is_unclear(source: str) -> bool:
    """Whether a program uses TF_USE_LEGACY_KERAS in another way than `plan_to_ask` reads."""
    return _MENTIONS.search(source) is not None and not _SETS.search(source)


def keras_of(source: str, facts: ImageFacts) -> str:
    """The version of the Keras that a program uses; "" if it is unknown, or if it uses two.

    Args:
        source: the program's text.
        facts: what the image has, asked with `plan_to_ask`.
    """
    if is_unclear(source):
        return ""
    tensorflow_keras = facts.version(TF_KERAS)
    names = names_used(source)
    if not any(name.partition(".")[0] == "keras" for name in names):
        return tensorflow_keras
    keras = facts.version("keras")
    uses_both = any(f"{name}.".startswith(f"{TF_KERAS}.") for name in names)
    return "" if uses_both and keras != tensorflow_keras else keras


def tf_keras(subject: Subject, sources: Mapping[str, str], facts: ImageFacts) -> Iterator[Finding]:
    """The Keras that TensorFlow is told to use is in the image."""
    package = facts.packages.get(TF_KERAS)
    plan = subject.plan
    if package is None or package.version or is_missing(plan):
        return
    place, at_once = first_use(sources)
    if subject.spec is None and not place:
        return
    variables = plan_to_ask(plan, sources).environment.env
    asks_for_tf_keras = variables.get(LEGACY_KERAS) in TRUE_VALUES
    image = plan.require_container().image
    cause = f"tensorflow.keras fails in {image}: {package.failure}"
    fix = "use another image"
    # If Keras can be imported, only the variable keeps TensorFlow from it.
    if asks_for_tf_keras or facts.version("keras"):
        cause = f"{LEGACY_KERAS} asks for tf-keras, which cannot be imported in {image}"
        version = ".".join(facts.version("tensorflow").split(".")[:2])
        install = f"name tf-keras=={version}.* in a requirements file (packages:)"
        fix = f"{install}, or take {LEGACY_KERAS} out"
    key = f"env.{LEGACY_KERAS}" if LEGACY_KERAS in subject.job.env else "container"
    blocks = subject.spec is not None or at_once
    yield Finding(f"{place}{cause}", fix, "job", key, blocks)


def first_use(sources: Mapping[str, str]) -> tuple[str, bool]:
    """The first use of tf.keras in programs, at best one that is made as soon as they start.

    Returns:
        its place as the beginning of a sentence, "" if there is no use; and whether it is made as
        soon as the program starts.
    """
    later_place = ""
    for file, source in sources.items():
        for name, (line, at_once) in names_used(source).items():
            if not f"{name}.".startswith(f"{TF_KERAS}."):
                continue
            place = f"{where(file, source, line)}: "
            if at_once:
                return place, True
            later_place = later_place or place
    return later_place, False
