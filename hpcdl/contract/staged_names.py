"""What staged sets and weights are called, where they lie, and the commands that stage them.

The host adds who may write there (`hpcdl.staging.how_to_stage`). The trainer runs on a node, where
data_root may be a bound folder, so that it names the command alone.
"""

from __future__ import annotations

from typing import Optional

FETCHED = ("mnist", "fashion_mnist", "cifar10", "cifar100")  # known sets, with a published address
EMBEDDED = ("digits",)  # a set that a Python package ships
MODELS = "models"  # the folder of weights under data_root, as in Keras's cache
WEIGHTS = "weights/"  # how the names of weights begin; a set's name has no slash
NPZ = ".npz"
# Sets that are folders of IDX files, and the folder's name, as Keras's own cache has it
FOLDERS = {"fashion_mnist": "fashion-mnist"}


def file_of_set(name: str) -> str:
    """The file or folder below data_root in which a set is staged."""
    return FOLDERS.get(name, name + NPZ)


def name_of_set(file_name: str) -> Optional[str]:
    """The set that is staged in a file or folder of this name; None if none can be."""
    for name, folder in FOLDERS.items():
        if file_name == folder:
            return name
    if file_name.endswith(NPZ):
        return file_name[: -len(NPZ)]
    return None


def stage_command(name: str, data_root: str, source: str = "") -> str:
    """The command that stages a set or weights.

    Args:
        name: of the set or weights, perhaps with options.
        data_root: where it is staged, quoted for a shell.
        source: the file to stage, if it is not fetched.
    """
    words = ["hpcdl data stage", name]
    if source:
        words += ["--from", source]
    return " ".join([*words, "--data-root", data_root])


def on_the_internet(command: str) -> str:
    """What to do with a command that fetches: a compute node has no internet."""
    return "on a machine with internet: {}".format(command)


def how_to_stage_set(name: str, data_root: str) -> str:
    """How a set is staged: known ones are fetched, others copied from a file.

    Args:
        name: of the set.
        data_root: where it is missing.
    """
    if name in FETCHED:
        return on_the_internet(stage_command(name, data_root))
    if name in EMBEDDED:
        return stage_command(name, data_root)
    return stage_command(name, data_root, "FILE")
