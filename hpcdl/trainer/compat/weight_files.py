"""Files of weights: where keras.applications finds them, and what is in them."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Callable, Iterator, List, Tuple

from hpcdl.trainer.compat.versions import is_keras_3


@contextlib.contextmanager
def weights_from(builder: Any, find: Callable[[str], str]) -> Iterator[None]:
    """While a network of keras.applications is built: say where the files of its weights are.

    Keras itself would download a missing file, from a node without internet.

    Args:
        builder: the network's function, such as ``keras.applications.VGG16``.
        find: gives the path of a file by its name.
    """
    package = builder.__module__.partition(".applications.")[0]
    module = ".utils.file_utils" if is_keras_3() else ".utils.data_utils"
    utils: Any = importlib.import_module(package + module)
    fetch = utils.get_file
    utils.get_file = lambda fname, *_, **__: find(fname)
    try:
        yield
    finally:
        utils.get_file = fetch


def weights_in(path: str) -> List[Tuple[str, Tuple[int, ...]]]:
    """The names and shapes of the weights in an HDF5 file, in their order.

    The file has the layout of Keras 2 or of Keras 3.

    Raises:
        OSError: it is not an HDF5 file, or it is damaged.
    """
    import h5py  # TensorFlow itself needs it

    weights: List[Tuple[str, Tuple[int, ...]]] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and "seed_generator" not in name:
            weights.append((name, tuple(node.shape)))

    with h5py.File(path, "r") as file:
        content = file.get("model_weights", file)
        if "layer_names" in content.attrs:  # Keras 2
            for layer in content.attrs["layer_names"]:
                group = content[layer]
                for name in group.attrs["weight_names"]:
                    weights.append((_text(name), tuple(group[name].shape)))
        else:
            content.get("layers", content).visititems(note)
    return weights


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)
