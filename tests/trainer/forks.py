"""Processes that are forked from one with TensorFlow: the tests' end of the pipes to forking.py."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).parents[2]


@dataclass
class Fork:
    """One process to be forked.

    Args:
        argv: its arguments.
        logs: where its files of stdout and stderr go; their names are this one's, with an ending.
        path: folders to import from, in front of the others.
        environment: variables; those that TensorFlow reads at its import come too late.
        program: its source; without one it is a trainer.
    """

    argv: list[str]
    logs: Path
    path: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    program: str | None = None

    def log(self, name: str) -> Path:
        """The file of its "stdout" or "stderr"."""
        return self.logs.with_name(f"{self.logs.name}.{name}")

    def request(self) -> dict[str, Any]:
        """What forking.py is asked for."""
        asked: dict[str, Any] = {"argv": self.argv, "path": self.path}
        asked["environment"] = self.environment
        if self.program is not None:
            file = self.logs.with_name(f"{self.logs.name}.py")
            file.write_text(self.program)
            asked["program"] = str(file)
        for name in ("stdout", "stderr"):
            self.log(name).write_text("")
            asked[name] = str(self.log(name))
        return asked


class Forks:
    """A process that has imported TensorFlow, and forks others; it starts when it is first needed.

    Args:
        python: the start of its argv.
        imports: "trainer" or "tensorflow", see forking.py.
    """

    def __init__(self, python: list[str], imports: str) -> None:
        self._argv = [*python, str(Path(__file__).with_name("forking.py")), imports]
        self._environment = {"PYTHONPATH": str(_REPOSITORY)} if imports == "trainer" else {}
        self._server: subprocess.Popen[str] | None = None

    def run(self, *forks: Fork) -> list[int]:
        """Run processes at the same time, to their end; their exit statuses."""
        if self._server is None:
            self._server = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                text=True,
            )
        pipes = self._server
        assert pipes.stdin is not None and pipes.stdout is not None
        pipes.stdin.write(json.dumps([fork.request() for fork in forks]) + "\n")
        pipes.stdin.flush()
        statuses: list[int] = json.loads(pipes.stdout.readline())
        return statuses

    def end(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.communicate()
