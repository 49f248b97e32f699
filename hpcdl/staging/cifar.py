"""Turns CIFAR's archives, which hold pickles, into .npz files, without running what is in them."""

from __future__ import annotations

import pickle
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_BYTES = 1 << 28  # of a member; CIFAR-100's training part has 155 MB
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """How an archive is laid out.

    Args:
        train: the members with the training part.
        test: the member with the test part.
        labels: the key of the labels in a member.
        classes: how many there are.
        link: Keras 3's name for the archive in its cache; the catalogue has Keras 2's.
    """

    train: tuple[str, ...]
    test: str
    labels: bytes
    classes: int
    link: str


# Source: https://www.cs.toronto.edu/~kriz/cifar.html, and keras/src/datasets/cifar10.py and
# cifar100.py at v3.15.1
LAYOUTS = {
    "cifar10": _Layout(
        tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
        "cifar-10-batches-py/test_batch",
        b"labels",
        10,
        "cifar-10-batches-py-target_archive",
    ),
    "cifar100": _Layout(
        ("cifar-100-python/train",),
        "cifar-100-python/test",
        b"fine_labels",
        100,
        "cifar-100-python-target_archive",
    ),
}


def convert(name: str, archive: Path, target: Path) -> None:
    """Write an archive's images, (rows, 32, 32, 3), and labels as an ``.npz`` file.

    Args:
        name: ``cifar10`` or ``cifar100``.
        archive: the .tar.gz file as it is published.
        target: the file to write.

    Raises:
        UserError: it is damaged, is another archive, or holds anything but arrays, lists, numbers
            and text.
        OSError: target cannot be written.
    """
    import numpy as np

    layout = LAYOUTS[name]
    try:
        batches = _read(archive, layout)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive.name} cannot be read as .tar.gz: {error}") from error
    train = [batches[member] for member in layout.train]
    with target.open("wb") as stream:
        np.savez(
            stream,
            x_train=np.concatenate([images for images, _ in train]),
            y_train=np.concatenate([labels for _, labels in train]),
            x_test=batches[layout.test][0],
            y_test=batches[layout.test][1],
        )


def _read(archive: Path, layout: _Layout) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The images and labels of each part, read in the archive's order; nothing is unpacked."""
    batches = {}
    names = {*layout.train, layout.test}
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            if member.name in names and member.isreg():
                if member.size > _MOST_BYTES:
                    raise UserError(
                        f"{archive.name}: {member.name} has {member.size:,} bytes; expected fewer"
                    )
                stream = tar.extractfile(member)
                content = stream.read() if stream else b""
                batches[member.name] = _batch(f"{archive.name}: {member.name}", content, layout)
    missing = sorted(names - set(batches))
    if missing:
        raise UserError(
            f"{archive.name} has no {', '.join(missing)}; expected the archive for Python"
        )
    return batches


def _batch(
    what: str, content: bytes, layout: _Layout
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    import io

    import numpy as np

    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        images, labels = batch[b"data"].pixels(), batch[layout.labels]
    # A hostile pickle may fail in any way, and that is the file's fault
    except Exception as error:
        raise UserError(
            f"{what} is not as CIFAR's are, and was not used: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(labels, list) or len(labels) != len(images):
        raise UserError(f"{what}: expected a list of {len(images)} labels")
    if not all(type(label) is int and 0 <= label < layout.classes for label in labels):
        raise UserError(f"{what}: a label is not a number from 0 to {layout.classes - 1}")
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy(), np.array(labels, np.uint8)


class _Array:
    """Stands in for a numpy array: keeps its state, and does nothing with it."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        """The array, if it holds bytes with an image a row.

        Raises:
            ValueError: it holds something else.
        """
        import numpy as np

        _, (rows, columns), kind, by_column, content = self.state
        if not isinstance(kind, _Kind) or kind.name not in ("u1", b"u1") or columns != _PIXELS:
            raise ValueError(f"the array is not one of {_PIXELS} unsigned bytes a row")
        return np.frombuffer(content, np.uint8).reshape(
            (rows, columns), order="F" if by_column else "C"
        )


class _Kind:
    """Stands in for numpy's dtype."""

    def __init__(self, name: Any, *others: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


def _array(*_: Any) -> _Array:
    return _Array()


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers, text and stand-ins for arrays, and refuses everything else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _STAND_INS[module_name, global_name]
