"""Whether the Python that runs a sweep's trials has Optuna: asked without importing it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from hpcdl import modules
from hpcdl.errors import UserError
from hpcdl.extras import BAYES, pip_install
from hpcdl.sweeps.bayes import OLDEST

_PROGRAM = "from importlib.metadata import version; print(version('optuna'))"
_RELEASE = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")


def require_optuna(python: str | None, module_lines: Sequence[str] = ()) -> None:
    """Make sure that a Python has an Optuna that `bayes` can use.

    Args:
        python: of the nodes; None for the one that runs hpcdl.
        module_lines: what the batch script loads before it starts that Python.

    Raises:
        UserError: it has none, or one that is too old; what to install where.
        HpcdlError: that Python cannot be started here.
    """
    if python is None:
        installed = _version_here()
    else:
        installed = _version_of(python, module_lines)
    release = _RELEASE.match(installed)
    if release is not None and (int(release[1]), int(release[2])) >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    found_text = f"has Optuna {installed}" if installed else "has none"
    install = pip_install(f"{BAYES[0]}>={oldest}", python=python)
    raise UserError(
        f"method bayes needs Optuna {oldest} or newer in the Python that runs the trials:"
        f" {python or sys.executable} {found_text}; install it with {install},"
        " or choose --method random"
    )


def _version_here() -> str:
    try:
        return version(BAYES[0])
    except PackageNotFoundError:
        return ""


def _version_of(python: str, module_lines: Sequence[str]) -> str:
    done = modules.run(module_lines, [python, "-c", _PROGRAM])
    if done.returncode:
        return ""
    return done.stdout.strip()
