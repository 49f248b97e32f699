"""Explains errors of the operating system: one sentence with the path and a remedy."""

from __future__ import annotations

import errno
import os
import shutil

from hpcdl.errors import HpcdlError, UserError

_WRONG_PATH = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDIES = {
    errno.ENOSPC: "free some space or files there, or name another place",
    errno.EDQUOT: "your quota there is used up: remove what you do not need, or name another place",
    errno.EROFS: "it is mounted read-only: name another place",
    errno.EACCES: "see who may use it: ls -ld",
    errno.EPERM: "see who may use it: ls -ld",
    errno.ENOENT: "see whether the path is right",
    errno.ENOTDIR: "see whether the path is right",
    errno.ELOOP: "see whether the path is right",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ESTALE: "its file system was away: try again",
    errno.EIO: "its file system is faulty: try again, and tell the site's support if it stays so",
    errno.ENOTCONN: "its file system is away: try again later",
    errno.ETIMEDOUT: "its file system does not answer: try again later",
    errno.EMFILE: "too many files are open: see ulimit -n",
    errno.ENFILE: "too many files are open on this machine: try again later",
    errno.EAGAIN: "this machine gives you no more processes: end some of yours, see ulimit -u",
    errno.ENOMEM: "this machine has no memory left: try again later, or on another one",
}


def sentence(error: OSError) -> str:
    """One sentence for people: the path, the reason, what to do."""
    path = failed_path(error)
    remedy = _REMEDIES.get(_number(error), "")
    text = reason(error)
    if path:
        text = f"{path}: {text}"
    if remedy:
        text = f"{text}; {remedy}"
    return text


def reason(error: OSError) -> str:
    """The reason alone, without the path: ``No space left on device``."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])  # a copied folder: (source, target, reason) of each file
    return error.strerror or str(error) or type(error).__name__


def failed_path(error: OSError) -> str | None:
    """The file or folder that the error is about; None if it names none.

    With two paths (a copy, a move), a full or read-only disk is that of the second one.
    """
    path = error.filename
    if error.filename2 is not None and _number(error) in (*_FULL, errno.EROFS):
        path = error.filename2
    if path is None or isinstance(path, int):
        return None
    return os.fsdecode(path)


def refusal(what: str, error: OSError, remedy: str = "") -> HpcdlError:
    """The error to raise when something could not be done.

    Args:
        what: such as ``cannot write page.html``.
        error: why.
        remedy: what to do; if empty, the usual remedy for such an error.

    Returns:
        a UserError if the path is wrong, else an HpcdlError: the system failed.
    """
    text = f"{what}: {reason(error)}"
    remedy = remedy or _REMEDIES.get(_number(error), "")
    if remedy:
        text = f"{text}; {remedy}"
    if error.errno in _WRONG_PATH:
        return UserError(text)
    return HpcdlError(text)


def is_full(error: OSError) -> bool:
    """Whether a write failed because the disk is full, or over a quota."""
    return error.errno in _FULL


def _number(error: OSError) -> int:
    return error.errno or 0
