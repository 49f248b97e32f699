"""The file names that a Python program writes as text, found without running it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from hpcdl.usercode.source import parse_source

_LONGEST = 1000  # characters; a longer text is not a file name
_OPENED_TO_WRITE = re.compile(r"[rbtU]*[wax+].*")
_WRITERS = frozenset(
    [
        *("save", "savez", "savez_compressed", "savetxt", "save_weights", "save_model"),
        *("savefig", "to_csv", "to_json", "to_pickle", "to_parquet", "to_hdf", "to_excel"),
        *("to_file", "tofile", "write_text", "write_bytes", "write_image", "write_html"),
        *("imsave", "imwrite", "export", "makedirs", "mkdir", "touch", "mkdtemp"),
        *("plot_model", "FileHandler", "create_file_writer", "ModelCheckpoint"),
        *("CSVLogger", "TensorBoard", "BackupAndRestore", "SaveAndStop", "remove"),
        *("unlink", "rmtree", "rename"),
    ]
)
# Calls whose first argument is a file or folder to read
_READERS = frozenset(
    [
        *("open", "load", "loadtxt", "genfromtxt", "fromfile", "load_model"),
        *("load_weights", "load_img", "load_data", "imread", "read_csv", "read_json"),
        *("read_pickle", "read_parquet", "read_hdf", "read_excel", "read_table"),
        *("read_text", "read_bytes", "read_file", "File", "TFRecordDataset", "list_files"),
        *("listdir", "scandir", "walk", "glob", "iglob", "rglob", "iterdir", "exists"),
        *("isfile", "isdir", "image_dataset_from_directory", "text_dataset_from_directory"),
        *("audio_dataset_from_directory", "flow_from_directory", "Path", "chdir"),
        *("ZipFile", "ImageFolder", "copy", "copyfile", "copytree", "join", "append"),
        *("insert",),
    ]
)
_JOINS = frozenset(["join", "joinpath"])
_PATHS = frozenset(
    [
        *("Path", "PurePath", "PosixPath", "expanduser", "abspath", "realpath", "normpath"),
        *("str", "fspath"),
    ]
)
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz", ".zip")


@dataclass(frozen=True)
class Named:
    """A text of a program that may be a file's name.

    Args:
        text: the name, or its beginning.
        line: where it stands.
        whole: whether it is the whole name; else something that only the run knows follows.
        written: whether the program writes there.
        read: whether a file's name is expected there.
    """

    text: str
    line: int
    whole: bool
    written: bool = False
    read: bool = False


def names_in(source: str) -> list[Named]:
    """All texts of a program that could name a file; none if it is not Python."""
    tree = parse_source(source)
    if tree is None:
        return []
    finder = _Finder()
    with suppress(RecursionError):
        finder.visit(tree)
    return finder.settled()


class _Finder(ast.NodeVisitor):
    """Visits each expression once: a part of a name that was put together is not a name."""

    def __init__(self) -> None:
        self.named: list[Named] = []
        self._call: tuple[bool, bool] = (False, False)  # written, read
        self._variables: dict[str, list[int]] = {}  # which of them a variable holds
        self._uses: list[tuple[str, bool, bool]] = []

    def settled(self) -> list[Named]:
        """The names, with what calls do to the variables that hold them."""
        for name, written, read in self._uses:
            for place in self._variables.get(name, []):
                before = self.named[place]
                now = replace(before, written=before.written or written, read=before.read or read)
                self.named[place] = now
        return self.named

    def visit_Assign(self, node: ast.Assign) -> None:
        first = len(self.named)
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._variables.setdefault(target.id, []).extend(range(first, len(self.named)))

    def visit_Name(self, node: ast.Name) -> None:
        if any(self._call):
            self._uses.append((node.id, *self._call))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        if self._take(node):
            return
        before = self._call
        written, read = _opens(node)
        if _name_of(node) in _JOINS | _PATHS:
            written = before[0]  # open(os.path.join(folder, name), "w")
            read = not written
        # Path("/a").write_text(...): what comes before the dot is what is written
        self._call = (written, read) if isinstance(node.func, ast.Attribute) else (False, False)
        self.visit(node.func)
        for place, argument in enumerate(node.args):
            self._call = (written, read and place == 0)
            self.visit(argument)
        for keyword in node.keywords:
            self._call = (written, read)
            self.visit(keyword.value)
        self._call = before

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr) and self._take(node):
            return
        if isinstance(node, ast.stmt):
            self._call = (False, False)
        super().generic_visit(node)

    def _take(self, node: ast.expr) -> bool:
        folded = _fold(node)
        if folded is None:
            return False
        text, whole = folded
        if 0 < len(text) <= _LONGEST and text.isprintable():
            self.named.append(Named(text, node.lineno, whole, *self._call))
        return True


def _opens(node: ast.Call) -> tuple[bool, bool]:
    """Whether a call writes, and whether it reads, what its arguments name."""
    function, name = node.func, _name_of(node)
    if name == "open":
        modes = [word.value for word in node.keywords if word.arg == "mode"]
        of_path = isinstance(function, ast.Attribute) and not _is_module(function)
        modes += node.args[:1] if of_path else node.args[1:2]
        mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else "r"
        written = isinstance(mode, str) and bool(_OPENED_TO_WRITE.fullmatch(mode))
        return written, not written
    return name in _WRITERS, name in _READERS


def _name_of(node: ast.Call) -> str:
    """The last word of what is called: ``load`` of ``np.load``."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return getattr(node.func, "id", "")


def _is_module(function: ast.Attribute) -> bool:
    """``gzip.open(name, mode)``, and not ``Path(name).open(mode)``."""
    return isinstance(function.value, ast.Name)


def _fold(node: ast.expr) -> tuple[str, bool] | None:
    """The text of an expression as far as it is written out, and whether that is all of it.

    Returns:
        None for an expression that is not a text.
    """
    if isinstance(node, ast.Constant):
        return (node.value, True) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return _together([_fold(part) for part in node.values], "")
    if isinstance(node, ast.BinOp):
        return _of_operator(node)
    if isinstance(node, ast.Call):
        return _of_call(node)
    return None


def _of_operator(node: ast.BinOp) -> tuple[str, bool] | None:
    left = _fold(node.left)
    if left is None:
        return None
    if isinstance(node.op, ast.Add):
        return _together([left, _fold(node.right)], "")
    if isinstance(node.op, ast.Div):
        return _together([left, _fold(node.right)], "/")
    if isinstance(node.op, ast.Mod):
        return left[0].partition("%")[0], False
    return None


def _of_call(node: ast.Call) -> tuple[str, bool] | None:
    """``os.path.join``, ``Path``, ``"...".format`` and the like around texts."""
    function, name = node.func, _name_of(node)
    owner = _fold(function.value) if isinstance(function, ast.Attribute) else None
    if name == "format" and owner is not None:
        return owner[0].partition("{")[0], False
    if name in ("expanduser", "resolve", "absolute") and owner is not None and not node.args:
        return owner
    if name in _JOINS:
        parts = [_fold(argument) for argument in node.args]
        if owner is not None and name == "joinpath":
            parts.insert(0, owner)
        elif owner is not None:
            return None  # ", ".join(words)
        return _together(parts, "/") if parts and parts[0] is not None else None
    if name in _PATHS and node.args:
        parts = [_fold(argument) for argument in node.args]
        return _together(parts, "/") if parts[0] is not None else None
    return None


def _together(parts: list[tuple[str, bool] | None], between: str) -> tuple[str, bool]:
    """Texts one behind the other, up to the first that is not written out."""
    text = ""
    for place, part in enumerate(parts):
        glue = between if place and not text.endswith(between) else ""
        if part is None:
            return text + glue, False
        text = part[0] if between and os.path.isabs(part[0]) else text + glue + part[0]
        if not part[1]:
            return text, False
    return text, True


def set_names(names: Iterable[Named]) -> set[str]:
    """What ``keras.utils.get_file`` may look for in its cache, of the texts of a program.

    That is the first part of a relative name, or the last one of an address; with the endings of
    archives, which Keras 2 adds where it unpacks.
    """
    sets = set()
    for named in names:
        text = named.text
        name = text.rpartition("/")[2] if "://" in text else text.partition("/")[0]
        if named.whole and name not in ("", ".", "..", "~"):
            sets |= {name, *(f"{name}{ending}" for ending in _ARCHIVES)}
            sets.add(name.partition(".tar")[0].removesuffix(".zip").removesuffix(".tgz"))
    return sets
