"""The notation of a space: read as meant, there and back, refused in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.errors import ProblemsError
from hpcdl.sweeps.space import (
    LARGEST,
    FloatRange,
    IntRange,
    Listed,
    Space,
    parse_dimension,
    parse_space,
)
from tests.hostile import TEXT, WORST

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
positive = st.floats(min_value=1e-300, max_value=1e300)
whole = st.integers(-LARGEST, LARGEST)
values = st.recursive(
    st.none() | st.booleans() | whole | finite | st.text(max_size=10) | st.sampled_from(WORST),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def ends(numbers):
    return st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)


dimensions = st.one_of(
    ends(finite).map(lambda pair: FloatRange(*pair)),
    ends(positive).map(lambda pair: FloatRange(pair[0], pair[1], log=True)),
    ends(whole).map(lambda pair: IntRange(*pair)),
    ends(st.integers(1, LARGEST)).map(lambda pair: IntRange(pair[0], pair[1], log=True)),
    st.lists(values, min_size=1, max_size=5, unique_by=json.dumps).map(
        lambda listed: Listed(tuple(listed))
    ),
)


@pytest.mark.parametrize(
    ("notation", "dimension"),
    [
        ("0.001..0.1", FloatRange(0.001, 0.1)),
        ("0..0.6", FloatRange(0.0, 0.6)),
        ("-1 .. .5", FloatRange(-1.0, 0.5)),
        ("log:1e-4..1e-1", FloatRange(1e-4, 1e-1, log=True)),
        ("log: 1e-4..1e-1", FloatRange(1e-4, 1e-1, log=True)),
        ("int:1..8", IntRange(1, 8)),
        ("int:log:16..512", IntRange(16, 512, log=True)),
        ("relu|tanh", Listed(("relu", "tanh"))),
        (" 16 | 32 ", Listed((16, 32))),
        ("1e-3|1e-2", Listed((1e-3, 1e-2))),
        ("true|false|~", Listed((True, False, None))),
        ("[16,32]|[32,64]", Listed(([16, 32], [32, 64]))),
        ("[1, 1.0, true]", Listed((1, 1.0, True))),
        ([[16, 32], [32, 64]], Listed(([16, 32], [32, 64]))),
        (["a|b", "1..2"], Listed(("a|b", "1..2"))),
        (["one"], Listed(("one",))),
    ],
)
def test_notation_is_read_as_meant(notation, dimension):
    parsed = parse_dimension(notation)

    assert parsed == dimension
    assert [type(value) for value in parsed.tried_values()] == [
        type(value) for value in dimension.tried_values()
    ]


@given(dimensions)
def test_notation_there_and_back(dimension):
    notation = json.loads(json.dumps(dimension.notation()))

    assert parse_dimension(notation) == dimension
    for value in dimension.tried_values():
        assert dimension.contains(value)


@pytest.mark.parametrize(
    ("notation", "words"),
    [
        ("", "is not a range or a list; write 0.001..0.1"),
        ("relu", "is not a range or a list"),
        (5, "5 is not a range or a list"),
        (None, "None is not a range or a list"),
        ({"low": 1}, "is not a range or a list"),
        ("1..1", "is a single value; write it into the job file"),
        ("0.1..0.01", "write 0.01..0.1"),
        ("int:8..1", "write 1..8"),
        ("log:0..1", "needs ends above 0, not 0.0"),
        ("int:log:0..8", "needs ends above 0, not 0"),
        ("int:0.5..8", "takes whole numbers"),
        ("int:1..99999999999999999", "takes whole numbers"),
        ("log:int:1..8", "known are log:, int:, int:log:"),
        ("exp:1..8", "'exp:' is not a kind of range"),
        ("1..1e999", "is too large"),
        ("-1.7e308..1.7e308", "is too large"),
        ("nan..1", "is not a range"),
        ("1..2..3", "is not a range"),
        ("٣..٤", "is not a range"),
        ("1_0..2_0", "is not a range"),
        ("a||b", "has an empty value"),
        ("|", "has an empty value"),
        ("1..8|9", "mixes a range with listed values"),
        ("int:1..8|16", "mixes a range with listed values"),
        ("a|b|a", "'a' is listed twice"),
        ("[a", "is not a value: this is not YAML"),
        ([], "the list is empty"),
        ("[]", "the list is empty"),
        ([1, 1], "1 is listed twice"),
        ([float("nan")], "nan cannot be a value"),
        ([float("inf")], "inf cannot be a value"),
        ([{1, 2}], "cannot be a value"),
        (list(range(10_001)), "10001 values are listed"),
    ],
)
def test_refused_in_words(notation, words):
    with pytest.raises(ValueError) as caught:
        parse_dimension(notation)

    assert words in str(caught.value)


pieces = st.sampled_from(
    [*TEXT, *WORST, "..", "|", "log:", "int:", "1", "-", "e", "9" * 5000, "[", "]", ".", "0"]
)


@given(st.lists(pieces, max_size=6).map("".join) | st.text(max_size=30))
def test_hostile_text_is_refused_or_read(text):
    """Whatever the text is: a dimension that can be written again, or a sentence."""
    try:
        dimension = parse_dimension(text)
    except ValueError as error:
        assert len(str(error)) < 400
    else:
        assert parse_dimension(dimension.notation()) == dimension
        assert dimension.size is None or dimension.size >= 1


@given(
    st.dictionaries(
        st.sampled_from(["model.a", "model.b", "data.c", "train.x.y", "args.lr"]),
        dimensions,
        min_size=1,
    )
)
def test_space_there_and_back(chosen):
    space = Space(chosen)
    notation = json.loads(json.dumps(space.notation(), sort_keys=True))

    again = parse_space(notation)

    assert again == space
    assert again.contains({name: again.dimensions[name].tried_values()[0] for name in chosen})


def test_size_is_the_product():
    space = parse_space({"model.a": "1|2|3", "train.b": "int:1..8"})

    assert space.size == 24
    assert parse_space({"model.a": "1|2|3", "train.b": "1..8"}).size is None


def test_types_are_told_apart():
    space = parse_space({"model.a": [1, True]})

    assert space.contains({"model.a": True})
    assert not space.contains({"model.a": 1.0})
    assert not space.contains({"model.a": 1, "model.b": 1})
    assert not parse_space({"model.a": "int:1..8"}).contains({"model.a": True})


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({}, "the space is empty"),
        ({"resources.gpus": "1|2"}, "submit a sweep for each size"),
        ({"name": "a|b"}, "'name' cannot be searched; name a key below data, model or train"),
        ({"model": "a|b"}, "cannot be searched"),
        ({5: "a|b"}, "5 cannot be searched"),
        ({"args.--rate": "a|b"}, "'args.--rate' cannot be searched"),
        ({"model.a b": "a|b"}, "cannot be searched"),
        ({"model.a": "1|2", "model.a.b": "1|2"}, "over.model.a.b: model.a is searched, too"),
    ],
)
def test_wrong_keys_are_refused(over, words):
    with pytest.raises(ProblemsError) as caught:
        parse_space(over, "job.yaml:7")

    assert "job.yaml:7: over" in str(caught.value)
    assert words in str(caught.value)


def test_all_problems_at_once():
    with pytest.raises(ProblemsError) as caught:
        parse_space({"model.a": "1..1", "resources.time": "1|2", "train.ok": "1|2"})

    assert [problem.key for problem in caught.value.problems] == [
        "over.model.a", "over.resources.time",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a|b #c", ["a", "b #c"]),
        ("# a|&b|*|@c|`id`|$(touch x)", ["# a", "&b", "*", "@c", "`id`", "$(touch x)"]),
        ("a: b|- c|d:", ["a: b", "- c", "d:"]),
        ('"a|b"|c', ["a|b", "c"]),
        ('["a|b", c]', ["a|b", "c"]),
        ("it's|'it''s, too'", ["it's", "it's, too"]),
        ("True|~|007|0x10|1.10", ["True", "~", "007", "0x10", "1.10"]),
        ("true|1e-3|0.1|5", [True, 0.001, 0.1, 5]),
    ],
)
def test_arguments_stay_as_written(text, values):
    assert parse_space({"args.x": text}).notation() == {"args.x": values}


def test_model_values_are_yaml():
    assert parse_dimension("True|0x10|~").notation() == [True, 16, None]


def test_wrong_quotes_have_a_remedy():
    with pytest.raises(ValueError, match="close its quotes and brackets, or put it into quotes"):
        parse_dimension('"a|b')
