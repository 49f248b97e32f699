"""Single values: taken and refused as msgspec, an independent strict converter, takes and refuses them."""

from __future__ import annotations

from types import GenericAlias
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.yamlfile.leaf import convert

HINTS: list[Any] = [
    bool, int, float, str, Any, list[str], list[int], list[Any], dict[str, Any],
    Optional[bool], Optional[int], Optional[float], Optional[str], Optional[list[int]], Union[int, list[int]],
]  # fmt: skip
BOUNDS: list[dict[str, Any]] = [
    {}, {"ge": 1}, {"gt": 0}, {"ge": 0, "lt": 2}, {"ge": -3, "le": 3}, {"min_length": 2}, {"choices": ["a", "b"]},
]  # fmt: skip
SIMPLE = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(-(2**62), 2**62), st.floats(allow_nan=False),
    st.sampled_from([0.0, 1.0, -3.0, 0.5]), st.text(max_size=3), st.sampled_from(["a", "b", "1", "true", ""]),
)  # fmt: skip
VALUES = st.one_of(
    SIMPLE, st.lists(SIMPLE, max_size=3), st.dictionaries(st.text(max_size=2), SIMPLE, max_size=2)
)


def for_msgspec(hint: Any, metadata: dict[str, Any]) -> Any:
    """The annotation with its bounds on each number or text in it."""
    if get_origin(hint) is Union:
        return Union[tuple(for_msgspec(option, metadata) for option in get_args(hint))]
    if get_origin(hint) is list:
        items: Any = GenericAlias(list, (for_msgspec(get_args(hint)[0], metadata),))
        return Annotated[items, msgspec.Meta(min_length=metadata.get("min_length", 0))]
    if hint is str and "choices" in metadata:
        return Literal[tuple(metadata["choices"])]
    bounds = {name: metadata[name] for name in ("ge", "gt", "le", "lt") if name in metadata}
    return Annotated[hint, msgspec.Meta(**bounds)] if hint in (int, float) and bounds else hint


@given(value=VALUES, hint=st.sampled_from(HINTS), metadata=st.sampled_from(BOUNDS))
def test_leaf_types_convert_like_msgspec(value, hint, metadata):
    if value is None:
        return  # the walker decides that before
    try:
        wanted = msgspec.convert(value, for_msgspec(hint, metadata), strict=True)
    except msgspec.ValidationError:
        with pytest.raises(ValueError):
            convert(value, hint, metadata)
        return
    got = convert(value, hint, metadata)
    assert (got, repr(got)) == (wanted, repr(wanted))


def test_nan_is_refused():
    with pytest.raises(ValueError):
        convert(float("nan"), float, {"ge": 0})
