"""Figures of how hpcdl's code reads, beside their limits; ends with 1 where a limit is passed.

A limit is where the code stands, rounded up: it may only be lowered. The goal is where it is to go.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parents[1] / "hpcdl"
LINE_LENGTH = 100
# Words that say nothing of what they name
VAGUE = frozenset(
    [
        "found",
        "row",
        "one",
        "wrong",
        "told",
        "said",
        "seen",
        "known",
        "made",
        "kept",
        "given",
        "wanted",
    ]
)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Figure:
    """A figure, the most that it may be today, and the most that it is to be."""

    name: str
    value: float
    limit: float
    goal: float


def figures(folder: Path) -> list[Figure]:
    """The figures of all Python files below a folder."""
    files = sorted(folder.rglob("*.py"))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    thousands = sum(code_lines(path) for path in files) / 1000
    lengths = sorted(function_lines(node) for node in nodes if isinstance(node, FUNCTIONS))
    names = [name for node in nodes for name in assigned(node)]

    def count(kinds: tuple[type[ast.AST], ...]) -> float:
        return sum(isinstance(node, kinds) for node in nodes) / thousands

    long_lines = sum(len(line) > LINE_LENGTH for line in lines)
    vague_names = sum(name in VAGUE for name in names)
    return [
        Figure("lines of a function, median", statistics.median(lengths), 8, 12),
        Figure("lines of a function, nine in ten", lengths[len(lengths) * 9 // 10], 20, 35),
        Figure("lines of a function, the longest", lengths[-1], 50, 60),
        Figure("comprehensions in 1,000 lines of code", count(COMPREHENSIONS), 24, 30),
        Figure("conditional expressions in 1,000 lines of code", count((ast.IfExp,)), 18, 25),
        Figure(f"lines above {LINE_LENGTH} characters, %", 100 * long_lines / len(lines), 0, 0),
        Figure("vague names, % of those assigned", 100 * vague_names / len(names), 1, 2),
    ]


def code_lines(path: Path) -> int:
    """Lines with code in them: no comments, docstrings or empty lines."""
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    numbers: set[int] = set()
    with tokenize.open(path) as stream:
        for token in tokenize.generate_tokens(stream.readline):
            if token.type not in skipped and not is_docstring(token):
                numbers.update(range(token.start[0], token.end[0] + 1))
    return len(numbers)


def is_docstring(token: tokenize.TokenInfo) -> bool:
    """Whether a token is a text that stands alone on its lines."""
    return (
        token.type == tokenize.STRING
        and re.fullmatch(r'\s*"""(?s:.*)"""\s*', token.line) is not None
    )


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, without its docstring."""
    body = node.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def assigned(node: ast.AST) -> Iterator[str]:
    """The names that a statement gives a value."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg


def main(folders: list[str]) -> int:
    """Print the figures of hpcdl, or of one folder in it; 1 if a limit is passed."""
    passed = False
    for figure in figures(Path(folders[0]) if folders else CODE):
        over = "" if figure.value <= figure.limit else "  over"
        passed = passed or bool(over)
        bounds = f"limit {figure.limit:g}, goal {figure.goal:g}{over}"
        print(f"{figure.name:48} {figure.value:6.1f}  {bounds}")
    return int(passed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
