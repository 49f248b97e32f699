"""Commands that a message advises: a path in them is quoted, so that they can be pasted into a shell."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcdl.files import write_json
from hpcdl.text import hpcdl_command, with_run

CODE = Path(__file__).parents[1] / "hpcdl"
# The end of a literal, behind which a value stands as a word of its own
COMMAND = re.compile(r"(?:\bhpcdl (?!is )(?:[a-z]+ )+|--cluster |\bcd )(?:--[a-z-]+ )*$")
QUOTES = {"quote", "with_run"}
# What is no path: names of shipped jobs and of sets, and parts of sentences
PLAIN = {"copy": ("name", "shown", "path.stem", "source.stem"), "stage": ("name",)}
SENTENCES = ("hpcdl shell on a machine of ", "--cluster ")


def unquoted_values() -> Iterator[str]:
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                for text in unquoted_in(node):
                    yield f"{path.relative_to(CODE)}:{node.lineno}: {text}"


def unquoted_in(node: ast.JoinedStr) -> Iterator[str]:
    """The values of an f-string that are words of a command and are not quoted."""
    literal = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            literal = str(part.value)
            continue
        assert isinstance(part, ast.FormattedValue)
        match = COMMAND.search(literal)
        value = ast.unparse(part.value)
        literal = ""
        if match is None or match[0].endswith(SENTENCES):
            continue
        called = re.match(r"(?:\w+\.)?(\w+)\(", value)
        if called and called[1] in QUOTES:
            continue
        if value not in PLAIN.get(match[0].split()[-1], ()):
            yield f"{match[0]}{{{value}}}"


def test_paths_in_commands_are_quoted():
    assert list(unquoted_values()) == []


@pytest.mark.parametrize(
    "text", ["f'see hpcdl status {root}'", "f'hpcdl sweep more {p.root} --trials 1'"]
)
def test_unquoted_path_is_noticed(text):
    (node,) = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.JoinedStr)]
    assert list(unquoted_in(node))


def test_quoted_command_is_read_back():
    words = ["sweep", "more", Path("/a b/it's"), "--trials", 2]
    assert shlex.split(hpcdl_command(*words)) == ["hpcdl", *map(str, words)]
    assert shlex.split(with_run("hpcdl logs RUN", "/a b")) == ["hpcdl", "logs", "/a b"]
    assert hpcdl_command("status", "/plain/path") == "hpcdl status /plain/path"


def test_advised_command_can_be_pasted(cli, tmp_path):
    """The command line of a message is run as it stands, in a folder with blanks."""
    run = tmp_path / "my runs" / "a" / "20260101-1200-aaaa"
    (run / "logs").mkdir(parents=True)
    for name in ("manifest", "plan"):
        write_json(run / f"{name}.json", {})
    advice = cli("result", run).out.strip().rpartition("; ")[2]

    assert advice == f"hpcdl wait '{run}'"
    write_json(run / "result.json", {"state": "failed", "cause": "user_code", "attempts": []})
    line = '{"event": "%s", "attempt": 1, "reason": "failed"}\n'
    (run / "attempts.jsonl").write_text(line % "start" + line % "end")
    waited = cli(*shlex.split(advice)[1:])
    assert waited.code == 1
    assert f"hpcdl logs '{run}'" in waited.err + waited.out
