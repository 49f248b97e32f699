"""Calls that the image's Keras refuses: arguments and methods of older versions, and endings of files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hpcdl.preflight import Finding, Subject
from hpcdl.preflight import kerastable as table
from hpcdl.preflight.api_names import all_calls
from hpcdl.preflight.kerasoptimizers import keywords, last_word, of_optimizer, old_attributes
from hpcdl.usercode.notebook import where
from hpcdl.usercode.source import parse_source


@dataclass(frozen=True)
class Refused:
    """A call that Keras does not take.

    Args:
        line: its line.
        message: what is wrong with it.
        fix: what to write instead.
        certain: whether it fails as soon as the program comes to it.
    """

    line: int
    message: str
    fix: str
    certain: bool


@dataclass
class _Program:
    """What a program's variables hold, as far as its text says.

    Args:
        models: the names of Keras models.
        texts: expressions by the names that are assigned once.
        defined: the functions and methods that the program defines.
        saves_folders: whether it may save models as folders, which Keras 3 reads.
    """

    models: set[str] = field(default_factory=set)
    texts: dict[str, ast.expr] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    saves_folders: bool = False


def keras_calls(subject: Subject, file: str, source: str, keras: str) -> Iterator[Finding]:
    """The calls of a program that its Keras refuses.

    Args:
        subject: what is checked.
        file: the program's name.
        source: its text.
        keras: the version of the Keras that it uses, or nothing where that is not known.
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
    named = list(all_calls(source))
    if not _uses_keras(source):
        return []
    program = _look(source, named)
    refused = []
    for name, call, at_once in named:
        if name:
            faults = _of_function(name, call, program, keras)
        else:
            faults = _of_method(call, program, keras)
        for message, fix, certain in faults:
            refused.append(Refused(call.lineno, message, fix, certain and at_once))
    tree = parse_source(source)
    for line, message, fix in old_attributes(tree, keras) if tree else ():
        refused.append(Refused(line, message, fix, False))
    return sorted(refused, key=lambda one: one.line)


def _uses_keras(source: str) -> bool:
    return re.search(r"(?m)^\s*(import|from)\s+(keras|tensorflow)\b", source) is not None


_Fault = tuple[str, str, bool]  # message, fix, whether it is certain


def _of_function(name: str, call: ast.Call, program: _Program, keras: str) -> Iterator[_Fault]:
    """What is wrong with a call of Keras's own function or class."""
    words = name.split(".")
    if words[:1] == ["tensorflow"] and words[1] in table.ALSO_IN_TENSORFLOW:
        words.insert(1, "keras")
    if "keras" not in words:
        return
    last, of_three = words[-1], keras.startswith("3")
    if "optimizers" in words and last in table.OPTIMIZERS:
        yield from of_optimizer(words, call, keras)
    if not of_three:
        return
    for argument, fix in table.NO_ARGUMENTS.get(".".join(words[-2:]), {}).items():
        if argument in keywords(call):
            yield f"{last} of Keras {keras} takes no {argument}", fix, True
    if "layers" in words:
        for argument, fix in table.LAYER_ARGUMENTS.items():
            takes = table.LAYERS_TAKE.get(last, ())
            if argument in keywords(call) and argument not in takes:
                yield f"{last} of Keras {keras} takes no {argument}", fix, True
    if "losses" in words and _is_auto(keywords(call).get("reduction")):
        fix = "take it out, or write reduction='sum_over_batch_size'"
        yield f"{last} of Keras {keras} takes no reduction auto", fix, True
    if last == "ModelCheckpoint":
        yield from _of_checkpoint(call, program, keras)
    elif last == "save_model":
        yield from _of_saving(call, 1, program, keras, True)
    elif last == "load_model":
        ending = _wrong_ending(_argument(call, 0, "filepath"), table.MODEL_FILES, program)
        if ending is not None and not program.saves_folders:
            message = f"load_model of Keras {keras} does not read {ending}"
            fix = "save the model as .keras or .h5; for a SavedModel: tf.keras.layers.TFSMLayer"
            yield message, fix, True


def _of_checkpoint(call: ast.Call, program: _Program, keras: str) -> Iterator[_Fault]:
    given = keywords(call)
    alone = given.get("save_weights_only", ast.Constant(False))
    if None in given or not isinstance(alone, ast.Constant):
        return
    endings: tuple[str, ...] = (".keras", ".h5")
    if alone.value:
        endings = (".weights.h5",)
    ending = _wrong_ending(_argument(call, 0, "filepath"), endings, program)
    if ending is not None:
        what = "weights" if alone.value else "models"
        message = f"ModelCheckpoint of Keras {keras} does not write {what} to {ending}"
        yield message, f"let the file's name end in {endings[0]}", True


def _of_saving(
    call: ast.Call, place: int, program: _Program, keras: str, certain: bool
) -> Iterator[_Fault]:
    """``save`` of a model; a folder is taken with ``zipped=False`` alone."""
    given = keywords(call)
    if "zipped" in given or None in given:
        return
    ending = _wrong_ending(_argument(call, place, "filepath"), table.MODEL_FILES, program, "hf://")
    if ending is not None:
        message = f"Keras {keras} does not save a model to {ending}"
        yield message, "let the name end in .keras; model.export writes a SavedModel", certain


def _of_method(call: ast.Call, program: _Program, keras: str) -> Iterator[_Fault]:
    """What is wrong with a method of a model, or of what may be one by its name."""
    if not isinstance(call.func, ast.Attribute):
        return
    method, owner = call.func.attr, last_word(call.func.value)
    certain = isinstance(call.func.value, ast.Name) and owner in program.models
    if method in program.defined or not (certain or _may_be_model(owner, method, program)):
        return
    of_three = keras.startswith("3")
    if method in table.NO_METHODS and (of_three or method in table.SINCE_KERAS_2):
        yield f"models of Keras {keras} have no {method}", table.NO_METHODS[method], certain
    if not of_three:
        return
    for argument, fix in table.METHOD_ARGUMENTS.get(method, {}).items():
        if argument in keywords(call):
            yield f"{method} of Keras {keras} takes no {argument}", fix, certain
    if method == "save":
        yield from _of_saving(call, 0, program, keras, certain)
    if method in table.WEIGHT_FILES and "max_shard_size" not in keywords(call):
        endings = table.WEIGHT_FILES[method]
        ending = _wrong_ending(_argument(call, 0, "filepath"), endings, program)
        if ending is not None:
            message = f"{method} of Keras {keras} does not take {ending}"
            yield message, "let the file's name end in .weights.h5", certain


def _may_be_model(variable: str, method: str, program: _Program) -> bool:
    """Whether the owner of a method may be a model: by its name, or by the method's."""
    if method == "predict_proba" or variable in program.defined:
        return False  # scikit-learn's models have it
    if method not in table.NO_METHODS and not table.LIKE_A_MODEL.search(variable):
        return False
    value = program.texts.get(variable)
    if not isinstance(value, ast.Call):
        return True
    maker = last_word(value.func)
    return not maker[:1].isupper() or maker in program.defined


def _look(source: str, named: list[tuple[str, ast.Call, bool]]) -> _Program:
    """What a program's variables hold. One that is assigned twice holds nothing for certain."""
    program = _Program(saves_folders="zipped" in source)
    tree = parse_source(source)
    if tree is None:
        return program
    names = {_place(call): name for name, call, _ in named}
    values: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            program.defined.add(node.name)
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and len(node.targets) == 1
        ):
            values.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.arg):
            values.setdefault(node.arg, []).append(None)
    for variable, assigned in values.items():
        makers = [names.get(_place(value), "") for value in assigned if value is not None]
        if len(makers) == len(assigned) and all(_makes_a_model(maker) for maker in makers):
            program.models.add(variable)
        if len(assigned) == 1 and assigned[0] is not None:
            program.texts[variable] = assigned[0]
    return program


def _makes_a_model(name: str) -> bool:
    words = name.split(".")
    if "keras" not in words:
        return False
    return words[-1] in table.MAKES_A_MODEL or "applications" in words


def _place(node: ast.expr) -> tuple[int, int, int | None, int | None]:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    given = keywords(call)
    if name in given:
        return given[name]
    if len(call.args) > place and not isinstance(call.args[place], ast.Starred):
        return call.args[place]
    return None


def _is_auto(node: ast.expr | None) -> bool:
    """``"auto"`` or ``Reduction.AUTO``."""
    if isinstance(node, ast.Attribute):
        return node.attr == "AUTO"
    return isinstance(node, ast.Constant) and node.value == "auto"


def _wrong_ending(
    node: ast.expr | None, endings: tuple[str, ...], program: _Program, fine: str = "\0"
) -> str | None:
    """The text of a file's name that has none of some endings, for messages; None where it may."""
    if node is None:
        return None
    text, whole = _end_of(node, program)
    if not text or text.startswith(fine) or text.endswith(endings):
        return None
    if not whole and any(ending.endswith(text) for ending in endings):
        return None
    return repr(text) if whole else repr(f"...{text}")


def _end_of(node: ast.expr, program: _Program, depth: int = 0) -> tuple[str, bool]:
    """The end of a text, as far as it is written out, and whether that is all of it."""
    if isinstance(node, ast.Constant):
        return (node.value, True) if isinstance(node.value, str) else ("", False)
    if isinstance(node, ast.Name) and depth < 5 and node.id in program.texts:
        return _end_of(program.texts[node.id], program, depth + 1)
    if isinstance(node, ast.JoinedStr) and node.values:
        return _end_of(node.values[-1], program, depth + 1)[0], False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        return _end_of(node.right, program, depth + 1)[0], False
    if isinstance(node, ast.Call) and node.args and not node.keywords:
        name = last_word(node.func)
        if name in ("Path", "str", "join", "joinpath"):
            text, whole = _end_of(node.args[-1], program, depth + 1)
            return text, whole and len(node.args) == 1 and name != "join"
    return "", False
