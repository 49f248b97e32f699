"""``display`` and the classes of ``IPython.display``: text is printed, pictures are saved."""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Dict, Optional

from . import pictures

# What of IPython a notebook may import where the image has none
STAND_INS = ("IPython", "IPython.core", "IPython.core.display", "IPython.display")


def display(*objects: Any, **_: Any) -> None:
    """Print what Jupyter would show; a figure or picture is saved in the run's folder."""
    for shown in objects:
        if not _saved(shown):
            print(_text(shown), flush=True)


def _text(shown: Any) -> str:
    try:
        return repr(shown)
    except Exception as error:  # Jupyter goes on, too
        return "<{}, whose repr fails: {}>".format(type(shown).__name__, error)


def _saved(shown: Any) -> bool:
    """Whether this is a picture, which is in a file now."""
    figures = sys.modules.get("hpcdl_support.figures")
    if type(shown).__module__ == "matplotlib.figure" and figures is not None:
        figures.save(shown)
        return True
    try:
        content = shown._repr_png_()
    except Exception:  # it has no such method, or it fails
        return False
    if isinstance(content, bytes):
        pictures.save_new(content)
        return True
    return False


def save_open_figures() -> None:
    """Save and close matplotlib's open figures, as Jupyter shows them at a cell's end."""
    figures = sys.modules.get("hpcdl_support.figures")
    if figures is not None:
        figures.show()


class Shown:
    """What stands for HTML, Markdown and their kind: text in a log."""

    def __init__(self, data: Any = None, *_: Any, **options: Any) -> None:
        self.data = data if data is not None else options.get("filename") or options.get("url")

    def __repr__(self) -> str:
        return "<{}: {}>".format(type(self).__name__, self.data)


def clear_output(*_: Any, **__: Any) -> None:
    """Do nothing: a log is not cleared."""


def provide_ipython(shell: Any) -> None:
    """Define ``display`` and ``get_ipython``, and a stand-in for IPython if the image has none."""

    def get_ipython() -> Any:
        """The shell for the notebook's own code; libraries must not take it for the real one."""
        return shell if sys._getframe(1).f_globals is shell.user_ns else None

    vars(builtins).update(get_ipython=get_ipython, display=display)
    if importlib.util.find_spec("IPython") is None:
        sys.meta_path.append(_StandIn({"display": display, "get_ipython": get_ipython}))


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes modules named as IPython's when they are imported, and not before: libraries look."""

    def __init__(self, functions: Dict[str, Any]) -> None:
        self.functions = functions

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        if name not in STAND_INS:
            return None
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self.functions, clear_output=clear_output, version_info=(9, 0, 0, ""))
        vars(module).update(__version__="9.0.0", __getattr__=_shown_class)


def _shown_class(name: str) -> Any:
    if name[:1].isupper():
        return type(name, (Shown,), {})
    raise AttributeError("hpcdl's stand-in for IPython has no {}".format(name))
