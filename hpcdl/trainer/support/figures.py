"""A matplotlib backend that opens no window: what a program shows is saved in the run's folder.

It is chosen by ``MPLBACKEND=module://hpcdl_support.figures``. What a backend module must have:
https://matplotlib.org/stable/users/explain/figure/writing_a_backend_pyplot_interface.html
"""

from __future__ import annotations

import io
from typing import Any, Optional

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from . import pictures


class FigureManager(FigureManagerBase):  # type: ignore[misc,unused-ignore]  # its base is Any
    """Stands for the window of a figure."""

    def show(self) -> None:
        """Save the figure: ``figure.show()``."""
        save(self.canvas.figure)


class FigureCanvas(FigureCanvasAgg):  # type: ignore[misc,unused-ignore]
    """Draws as Agg does."""

    manager_class = FigureManager


def show(*_: Any, block: Optional[bool] = None, **__: Any) -> None:
    """``plt.show()``: save all open figures. They are closed then, as if their windows had been.

    Args:
        block: False where the program goes on with the figures, as ``plt.pause`` does.
    """
    for manager in Gcf.get_all_fig_managers():
        save(manager.canvas.figure)
    if block is not False:
        Gcf.destroy_all()


def save(figure: Any) -> None:
    """Save a figure under its own name; if the same cell or script saved it, its file is replaced.

    If a figure cannot be drawn or written, the program goes on.
    """
    content = io.BytesIO()
    try:
        figure.savefig(content, format="png", bbox_inches="tight")
        saved_by, path = getattr(figure, "_hpcdl_saved", (None, None))
        is_new = saved_by != pictures.prefix
        if is_new:
            path = pictures.new_path()
            figure._hpcdl_saved = pictures.prefix, path
        if path:
            pictures.write(path, content.getvalue())
            if is_new:
                pictures.say("figure saved: {}".format(path))
    except Exception as error:  # a user's figure can fail in any way, as its text is drawn only now
        pictures.say("a figure cannot be saved: {}: {}".format(type(error).__name__, error))
