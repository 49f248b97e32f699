"""Removes what a run that is done does not need: caches, links, pickles, meetings, a secret.

What the program itself wrote stays, and so do all files that a command reads.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from hpcdl.files import read_json
from hpcdl.run import records, states
from hpcdl.run.paths import RunPaths
from hpcdl.run.result import Result
from hpcdl.run.worker_paths import meetings

# Below the program's home: what Keras, Matplotlib, CUDA and others make again when they need it
_CACHES = (".cache", ".nv/ComputeCache", ".config/matplotlib/tex.cache")
_FONT_LISTS = ".config/matplotlib/fontlist-*.json"
# What Keras writes into keras.json if there is none
_KERAS_DEFAULTS = {
    "backend": "tensorflow",
    "epsilon": 1e-07,
    "floatx": "float32",
    "image_data_format": "channels_last",
}
# What hpcdl and submitit always say of an attempt; attempts.jsonl says it, too
_USUAL_LINE = re.compile(r"submitit INFO |attempt \d+ (of|ended: done)")


def tidy(paths: RunPaths) -> None:
    """Remove what a run does not need any more, if it is done for good.

    Nothing is said of what cannot be removed: it is only a file too many.
    """
    result = Result.read(paths)
    if result is None or result.state != states.DONE or not result.is_complete:
        return
    shutil.rmtree(paths.submitit, ignore_errors=True)
    for folder in meetings(paths).glob("attempt-*"):
        shutil.rmtree(folder, ignore_errors=True)
    _remove_empty_folders(paths.work)
    _tidy_home(paths.home, str(records.plan(paths).get("data_root", "")))
    with suppress(OSError):
        if "progress" in result.keys or "images" in result.keys:
            paths.heartbeat.unlink()
            for of_worker in meetings(paths).glob(f"*/{paths.heartbeat.name}"):
                of_worker.unlink()
    with suppress(OSError, UnicodeDecodeError):
        lines = paths.local_log.read_text(encoding="utf-8").splitlines()
        if all(map(_USUAL_LINE.match, lines)):
            paths.local_log.unlink()


def forget_page(paths: RunPaths) -> None:
    """Remove the secret of a notebook that does not run; killed, it could not do so itself."""
    if os.path.exists(paths.jupyter_token):  # a folder of that name may be the user's own
        shutil.rmtree(paths.jupyter, ignore_errors=True)


def _tidy_home(home: Path, data_root: str) -> None:
    """Remove caches, and the links to staged sets, from the program's home."""
    removable = []
    for cache in caches_in(home):
        if cache.is_dir():
            shutil.rmtree(cache, ignore_errors=True)
        else:
            removable.append(cache)
    for link in (home / ".keras/models", *home.glob(".keras/datasets/*")):
        if link.is_symlink() and os.readlink(link).startswith(f"{data_root}/"):
            removable.append(link)
    settings = read_json(home / ".keras/keras.json")
    if settings is not None and _KERAS_DEFAULTS.items() <= settings.items():
        removable.append(home / ".keras/keras.json")
    for path in removable:
        with suppress(OSError):
            path.unlink()
    _remove_empty_folders(home)


def caches_in(home: Path) -> list[Path]:
    """The caches in a program's home: files and folders that are made again when needed."""
    folders = [home / name for name in _CACHES]
    return [*(folder for folder in folders if folder.is_dir()), *home.glob(_FONT_LISTS)]


def _remove_empty_folders(folder: Path) -> None:
    """Remove a folder, and those below it, as far as there is no file in them."""
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # something is in it
            os.rmdir(place)
