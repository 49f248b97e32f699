"""What to try when a program ended because tf-keras is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_VARIABLE = "TF_USE_LEGACY_KERAS"
_INSTALL = "name tf-keras, of TensorFlow's own version, in a requirements file (packages:)"


def tf_keras_hint(lines: Sequence[str], env: Mapping[str, str]) -> str | None:
    """A hint for a run whose program could not import tf-keras.

    Args:
        lines: what the program printed last.
        env: the job's own variables.

    Returns:
        What to change in the job; None if the program ended for another reason.
    """
    text = "\n".join(lines)
    asks = "Keras cannot be imported" in text  # TensorFlow's words if only tf-keras is missing
    if not asks and "No module named 'tf_keras'" not in text:
        return None
    if _VARIABLE in env:
        return f"{_INSTALL}, or take {_VARIABLE} out of env"
    if asks:
        unless = f"or take {_VARIABLE} out if the script or the image sets it"
        return f"{_INSTALL}, {unless}; else use another image"
    return _INSTALL
