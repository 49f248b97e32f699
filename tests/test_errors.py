"""The error tree: drawn as it is, each class with its exit code, problems told one per line."""

from __future__ import annotations

import inspect

import pytest

from hpcdl import errors
from hpcdl.errors import HpcdlError, JobError, Problem, ProblemsError, UserError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, HpcdlError)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_exit_code_depends_on_fault(cls):
    assert cls.exit_code == (2 if issubclass(cls, UserError) else 1)
    assert cls.__doc__


def test_tree_drawn_complete():
    drawing = errors.__doc__ or ""

    assert {cls.__name__ for cls in CLASSES if cls is not ProblemsError} == {
        word for word in drawing.split() if word.endswith("Error")
    }


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("a.yaml:3", "train.epochs", "is odd"), "a.yaml:3: train.epochs: is odd"),
        (Problem("a.yaml:3", "", "is odd"), "a.yaml:3: is odd"),
        (Problem("", "", "is odd"), "is odd"),
    ],
)
def test_problem_in_one_line(problem, text):
    assert str(problem) == text


def test_problems_counted():
    problem = Problem("a.yaml:3", "x", "is odd")

    assert str(JobError("a.yaml", [problem])) == "a.yaml: 1 problem\n  a.yaml:3: x: is odd"
    assert str(JobError("a.yaml", [problem, problem])).startswith("a.yaml: 2 problems\n")
