"""Calls that the image's Keras refuses: old arguments and methods, and endings of files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight import kerastable as table
from hpcdl.preflight.api_names import all_calls
from hpcdl.preflight.kerasoptimizers import keywords, last_word, of_optimizer, old_attributes
from hpcdl.preflight.keraspaths import argument_at, wrong_ending
from hpcdl.preflight.kerasvariables import Variables, variables_of
from hpcdl.usercode.notebook import where
from hpcdl.usercode.source import parse_source

_Fault = tuple[str, str, bool]  # what is wrong, what to write, and whether it fails for certain


@dataclass(frozen=True)
class Refused:
    """A call that Keras refuses.

    Args:
        line: its line.
        message: what is wrong with it.
        fix: what to write instead.
        certain: whether it fails as soon as the program reaches it.
    """

    line: int
    message: str
    fix: str
    certain: bool


def keras_calls(subject: Subject, file: str, source: str, keras: str) -> Iterator[Finding]:
    """The calls of a program that its Keras refuses.

    Args:
        subject: what is checked.
        file: the program's name.
        source: its text.
        keras: the version of the Keras that it uses; "" if it is unknown.
    """
    if not keras:
        return
    for call in refused_calls(source, keras):
        cause = f"{where(file, source, call.line)}: {call.message}"
        yield Finding(cause, call.fix, "job", "script", call.certain)


def refused_calls(source: str, keras: str) -> list[Refused]:
    """The calls of a program that a version of Keras refuses, by line.

    Args:
        source: the program's text.
        keras: the version, such as ``3.15.0``.
    """
    tree = parse_source(source)
    if tree is None or not _uses_keras(source):
        return []
    named_calls = list(all_calls(source))
    variables = variables_of(tree, source, named_calls)
    refused = []
    for name, call, at_once in named_calls:
        if name:
            faults = _function_faults(name, call, variables, keras)
        else:
            faults = _method_faults(call, variables, keras)
        for message, fix, certain in faults:
            refused.append(Refused(call.lineno, message, fix, certain and at_once))
    for line, message, fix in old_attributes(tree, keras):
        refused.append(Refused(line, message, fix, False))
    return sorted(refused, key=lambda call: call.line)


def _uses_keras(source: str) -> bool:
    return re.search(r"(?m)^\s*(import|from)\s+(keras|tensorflow)\b", source) is not None


def _function_faults(
    name: str, call: ast.Call, variables: Variables, keras: str
) -> Iterator[_Fault]:
    """What is wrong with a call of a function or class of Keras.

    Args:
        name: its dotted name.
        call: the call.
        variables: what the program's variables hold.
        keras: the version of Keras.
    """
    words = name.split(".")
    if words[:1] == ["tensorflow"] and words[1] in table.ALSO_IN_TENSORFLOW:
        words.insert(1, "keras")
    if "keras" not in words:
        return
    if "optimizers" in words and words[-1] in table.OPTIMIZERS:
        yield from of_optimizer(words, call, keras)
    if not keras.startswith("3"):
        return
    yield from _argument_faults(words, call, keras)
    if words[-1] == "ModelCheckpoint":
        yield from _checkpoint_faults(call, variables, keras)
    elif words[-1] == "save_model":
        yield from _save_faults(call, 1, variables, keras, certain=True)
    elif words[-1] == "load_model":
        yield from _load_faults(call, variables, keras)


def _argument_faults(words: list[str], call: ast.Call, keras: str) -> Iterator[_Fault]:
    """The arguments that a function or class of Keras 3 does not take."""
    function, arguments = words[-1], keywords(call)
    for argument, fix in table.NO_ARGUMENTS.get(".".join(words[-2:]), {}).items():
        if argument in arguments:
            yield f"{function} of Keras {keras} takes no {argument}", fix, True
    if "layers" in words:
        exceptions = table.LAYERS_TAKE.get(function, ())
        for argument, fix in table.LAYER_ARGUMENTS.items():
            if argument in arguments and argument not in exceptions:
                yield f"{function} of Keras {keras} takes no {argument}", fix, True
    if "losses" in words and _is_auto(arguments.get("reduction")):
        fix = "take it out, or write reduction='sum_over_batch_size'"
        yield f"{function} of Keras {keras} takes no reduction auto", fix, True


def _checkpoint_faults(call: ast.Call, variables: Variables, keras: str) -> Iterator[_Fault]:
    """The ending of the files that ModelCheckpoint is to write."""
    arguments = keywords(call)
    weights_only = arguments.get("save_weights_only", ast.Constant(False))
    if None in arguments or not isinstance(weights_only, ast.Constant):
        return
    content = "models"
    endings: tuple[str, ...] = (".keras", ".h5")
    if weights_only.value:
        content, endings = "weights", (".weights.h5",)
    ending = wrong_ending(argument_at(call, 0, "filepath"), endings, variables)
    if ending is not None:
        message = f"ModelCheckpoint of Keras {keras} does not write {content} to {ending}"
        yield message, f"let the file's name end in {endings[0]}", True


def _save_faults(
    call: ast.Call, position: int, variables: Variables, keras: str, certain: bool
) -> Iterator[_Fault]:
    """The ending of the file that a model is saved to. A folder needs ``zipped=False``.

    Args:
        call: the call.
        position: of its argument ``filepath``, from 0.
        variables: what the program's variables hold.
        keras: the version of Keras.
        certain: whether a model is saved for certain.
    """
    arguments = keywords(call)
    if "zipped" in arguments or None in arguments:
        return
    path = argument_at(call, position, "filepath")
    ending = wrong_ending(path, table.MODEL_FILES, variables, "hf://")
    if ending is not None:
        message = f"Keras {keras} does not save a model to {ending}"
        yield message, "let the name end in .keras; model.export writes a SavedModel", certain


def _load_faults(call: ast.Call, variables: Variables, keras: str) -> Iterator[_Fault]:
    """The ending of the file that ``load_model`` reads."""
    ending = wrong_ending(argument_at(call, 0, "filepath"), table.MODEL_FILES, variables)
    if ending is not None and not variables.saves_folders:
        message = f"load_model of Keras {keras} does not read {ending}"
        fix = "save the model as .keras or .h5; for a SavedModel: tf.keras.layers.TFSMLayer"
        yield message, fix, True


def _method_faults(call: ast.Call, variables: Variables, keras: str) -> Iterator[_Fault]:
    """What is wrong with a call of a model's method, or of what may be one."""
    if not isinstance(call.func, ast.Attribute):
        return
    method, owner = call.func.attr, last_word(call.func.value)
    certain = isinstance(call.func.value, ast.Name) and owner in variables.models
    if method in variables.defined or not (certain or _may_be_model(owner, method, variables)):
        return
    is_keras_3 = keras.startswith("3")
    if method in table.NO_METHODS and (is_keras_3 or method in table.SINCE_KERAS_2):
        yield f"models of Keras {keras} have no {method}", table.NO_METHODS[method], certain
    if not is_keras_3:
        return
    arguments = keywords(call)
    for argument, fix in table.METHOD_ARGUMENTS.get(method, {}).items():
        if argument in arguments:
            yield f"{method} of Keras {keras} takes no {argument}", fix, certain
    if method == "save":
        yield from _save_faults(call, 0, variables, keras, certain)
    if method in table.WEIGHT_FILES and "max_shard_size" not in arguments:
        path = argument_at(call, 0, "filepath")
        ending = wrong_ending(path, table.WEIGHT_FILES[method], variables)
        if ending is not None:
            message = f"{method} of Keras {keras} does not take {ending}"
            yield message, "let the file's name end in .weights.h5", certain


def _may_be_model(owner: str, method: str, variables: Variables) -> bool:
    """Whether the owner of a method may be a model: by its own name, or by the method's."""
    if method == "predict_proba" or owner in variables.defined:
        return False  # models of scikit-learn have predict_proba
    if method not in table.NO_METHODS and not table.LIKE_A_MODEL.search(owner):
        return False
    value = variables.values.get(owner)
    if not isinstance(value, ast.Call):
        return True
    maker = last_word(value.func)
    return not maker[:1].isupper() or maker in variables.defined


def _is_auto(node: ast.expr | None) -> bool:
    """``"auto"`` or ``Reduction.AUTO``."""
    if isinstance(node, ast.Attribute):
        return node.attr == "AUTO"
    return isinstance(node, ast.Constant) and node.value == "auto"
