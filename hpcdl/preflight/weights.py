"""The weights that a script lets Keras load: on a compute node without internet, they must have been staged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hpcdl.data.weights import ARCHITECTURES, find_weights
from hpcdl.preflight import Finding, Subject
from hpcdl.preflight.attributes import calls
from hpcdl.preflight.script import sources_of


def weights(subject: Subject) -> Iterator[Finding]:
    """For every ``keras.applications`` model of a script with ImageNet's weights, their file lies in data_root."""
    models = Path(subject.cluster.data_root, "models")
    for file, source in sources_of(subject).items():
        for name, call, at_once in calls(source):
            parts = name.split(".")
            architecture = parts[-1]
            given = {word.arg: word.value for word in call.keywords}
            if "applications" not in parts or architecture not in ARCHITECTURES or call.args or None in given:
                continue
            top, wanted = given.get("include_top", ast.Constant(True)), given.get("weights", ast.Constant("imagenet"))
            if not isinstance(wanted, ast.Constant) or wanted.value != "imagenet":
                continue
            tops = [bool(top.value)] if isinstance(top, ast.Constant) else [True, False]
            if not any(find_weights(models, architecture, one) for one in tops):
                which = "" if tops[0] else ", include_top=False"
                yield Finding(
                    f"{file}:{call.lineno}: {architecture} takes ImageNet's weights{which}, which are not in {models}",
                    f"on a machine with internet, tf.keras.applications.{architecture}({which.lstrip(', ')}) puts them "
                    f"into ~/.keras/models: copy them to {models}",
                    "job",
                    "script",
                    at_once,
                )
