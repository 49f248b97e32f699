"""A notebook runs as Jupyter would run it; what cannot run is left out aloud, or refused with its cell and line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from hpcdl.errors import UserError
from hpcdl.job import load_job
from hpcdl.planning import NOTEBOOK_RUNNER, SUPPORT
from hpcdl.usercode import notebook
from hpcdl.usercode.freeze import freeze_support, freeze_user_files

pytestmark = pytest.mark.cases("F1", "C4")


def text_of(*cells, metadata=None):
    """A notebook file's text; a cell is its source, or (source, tags)."""
    rows = []
    for cell in cells:
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        rows.append(
            {
                "cell_type": "code",
                "source": source,
                "metadata": {"tags": tags},
                "outputs": [],
                "execution_count": None,
            }
        )
    whole = {"cells": rows, "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole)


class Folder:
    """A notebook job, frozen and run without the rest of hpcdl."""

    def __init__(self, folder):
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir()

    def write(self, *cells, text=None):
        self.path = self.folder / "nb.ipynb"
        content = text_of(*cells) if text is None else text
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (self.folder / "job.yaml").write_text("name: a\nscript: nb.ipynb\n")
        return notebook.read(self.path)

    def run(self, *cells, text=None, args=(), **environment):
        """Run it: the exit status, stdout and stderr."""
        self.write(*cells, text=text)
        user = self.folder / "run" / "user"
        freeze_user_files(load_job(self.folder / "job.yaml"), user)
        freeze_support(user)
        argv = [sys.executable, user / NOTEBOOK_RUNNER, user / "nb.ipynb", *args]
        done = subprocess.run(
            argv,
            cwd=self.work,
            env={
                **os.environ,
                "HPCDL_STOP_FILE": str(self.folder / "run" / "stop"),
                "PYTHONPATH": f"{user / SUPPORT}",
                "MPLBACKEND": "module://hpcdl_support.figures",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


RUNS = {
    "time-cell": (["x = 1", "%%time\nx = 2", "print(x)"], "2\n"),
    "capture-cell": (
        ["%%capture out\nx = 2\nprint('hidden')", "x, out.stdout"],
        "(2, 'hidden\\n')\n",
    ),
    "capture-plain": (["%%capture\nx = 2\nprint('hidden')", "x"], "2\n"),
    "capture-time": (["%%capture\n%%time\nx = 3\n!echo hidden", "x"], "3\n"),
    "time-line": (["%time x = 4", "x"], "4\n"),
    "time-value": (["x = %time 2 + 3", "x"], "5\n"),
    "prun": (["%%prun -q\nx = 6", "x"], "6\n"),
    "indented": (["for i in (1, 2):\n    %time x = i\n    !echo go {i}", "x"], "go 2\n2\n"),
    "in-function": (["def f(a):\n    %time a.append(7)\n    return a", "f([])"], "[7]\n"),
    "timeit": (["n = 0", "%%timeit -n 2 -r 3\nglobal n\nn += 1", "n"], "6\n"),
    "timeit-line": (["l = []", "%timeit -n1 -r2 l.append(1)", "len(l)"], "2\n"),
    "timeit-setup": (["%%timeit -n1 -r1 -q y = 3\nprint(y)"], "3\n"),
    "command": (["!echo hello; echo two"], "hello\ntwo\n"),
    "command-name": (["a = 'x y'", "!echo {a.upper()} $a '$a' $$HOME_"], "X Y x y $a\n"),
    "command-list": (
        ["files = !printf 'a\\nb\\n'", "files, files.n, files.s"],
        "(['a', 'b'], 'a\\nb', 'a b')\n",
    ),
    "awk": (["!echo 1 2 | awk '{print $2}'"], "2\n"),
    "bash": (["%%bash\nx=5\necho $x"], "5\n"),
    "bash-out": (["%%bash --out text\necho kept", "text"], "'kept\\n'\n"),
    "sh": (["%%sh\necho $0 | grep -c sh"], "1\n"),
    "python-cell": (["%%python\nprint(6 * 7)"], "42\n"),
    "script-skips": (["%%script echo skipped\nraise SystemExit(9)"], "skipped\n"),
    "cd": (["%mkdir -p d", "%cd d\nimport os", "os.path.basename(os.getcwd())"], "'d'\n"),
    "cd-bare": (["mkdir d", "cd -q d", "!basename $PWD"], "d\n"),
    "env": (["%env A=b c\nimport os", "os.environ['A']", "!echo $A"], "'b c'\nb c\n"),
    "writefile": (
        ["%%writefile made.py\nVALUE = 8", "import made\nmade.VALUE", "!tail -1 made.py"],
        "8\nVALUE = 8\n",
    ),
    "writefile-magic": (
        ["%%writefile a.txt\n%matplotlib inline\n!no", "print(open('a.txt').read())"],
        "!no\n\n",
    ),
    "last-value": (["a = 1\na + 1", "_", "a + 1;", "a", "Out[2]"], "2\n2\n1\n2\n"),
    "none-silent": (["None", "print(9)"], "9\n"),
    "display": (["display([1], 'two')"], "[1]\n'two'\n"),
    "ipython-import": (
        ["from IPython.display import clear_output, display, HTML\ndisplay(HTML('<b>'))"],
        "<IPython.core.display.HTML object>\n" if find_spec("IPython") else "<HTML: <b>>\n",
    ),
    "await": (
        ["import asyncio\nawait asyncio.sleep(0)\nasync def f():\n    return 3", "await f()"],
        "3\n",
    ),
    "get-ipython": (
        ["get_ipython().run_line_magic('matplotlib', 'inline')\nget_ipython().system('echo yes')"],
        "yes\n",
    ),
    "future": (
        ["x = 1", "from __future__ import annotations", "def f(a: nowhere): pass\nprint(1)"],
        "1\n",
    ),
    "strings": (
        ['s = """\n%time\n!no\nwhat?\n"""\nt = [\n  1,  # %\n  2 % 2, "!", "?"]\nlen(s), t'],
        "1, 0, '!', '?'])\n",
    ),
    "comment-asks": (["%matplotlib inline\nepochs = 1\nepochs = 20  # enough?\nepochs"], "20\n"),
    "bracket-asks": (["%matplotlib inline\nlayers = [\n    # bigger?\n    3, ]\nlayers"], "[3]\n"),
    "operators": (["a = 7 \\\n% 4", "b = a % 2 != 1\na, b"], "(3, False)\n"),
    "indent": (["  a = 1\n  if a:\n    b = 2", "b"], "2\n"),
    "raises-tag": ([("1/0", ["raises-exception"]), "print('on')"], "on\n"),
    "reset": (
        ["a = 1", "%reset -f", "'a' in globals(), callable(exit)", "Out[3]"],
        "(False, True)\n",
    ),
    "no-file": (
        ["try:\n    __file__\nexcept NameError:\n    print('as in Jupyter')"],
        "as in Jupyter\n",
    ),
    "exit-bare": (["print(1)", "if True:\n    exit", "print(2)"], "1\n"),
    "quit-bare": (["print(1)\nquit  # enough", "print(2)"], "1\n"),
    "exit": (["print(1)\nimport sys\nsys.exit(0)", "print(2)"], "1\n"),
}


@pytest.mark.parametrize(("cells", "out"), RUNS.values(), ids=RUNS)
def test_cells_run(folder, cells, out):
    """What IPython runs runs, and ends with what IPython would have printed last."""
    status, printed, errors = folder.run(*cells)

    assert status == 0, errors
    assert printed.endswith(out), errors


def test_times_are_printed(folder):
    _, out, _ = folder.run("%%time\npass", "%timeit -n1 -r1 pass")

    assert out.startswith("CPU times: user ")
    assert "\nWall time: " in out
    assert "per loop (mean ± std. dev. of 1 run, 1 loop each)" in out


def test_arguments_and_main(folder):
    """A notebook gets the job's arguments, and is the main program."""
    _, out, _ = folder.run("import sys\nprint(sys.argv[1:], __name__)", args=["-a", "b c"])

    assert out == "['-a', 'b c'] __main__\n"


LEFT_OUT = {
    "matplotlib": (
        "%matplotlib inline",
        "%matplotlib inline is left out: figures are saved in figures/",
    ),
    "load-ext": ("%load_ext autoreload\n%autoreload 2", "line 2: %autoreload 2 is left out"),
    "pip": (
        "!pip install -q pandas",
        "!pip install -q pandas is left out: name it in a requirements file",
    ),
    "pip-module": (
        "!python3 -m pip install a",
        "is left out: name it in a requirements file: packages",
    ),
    "pip-magic": (
        "%pip install pandas",
        "%pip install pandas is left out: name it in a requirements file",
    ),
    "pip-bare": ("pip install pandas", "pip install pandas is left out"),
    "pip-executable": (
        "import sys\n!{sys.executable} -m pip install a",
        "!{sys.executable} -m pip install a is",
    ),
    "pip-dollar": (
        "import sys\n!$sys.executable -m pip install a",
        "is left out: name it in a requirements",
    ),
    "pip-options": (
        "!pip -q --no-cache-dir install a",
        "is left out: name it in a requirements file",
    ),
    "pip-yes": ("!yes | pip uninstall a", "is left out: name it in a requirements file"),
    "pip-both": ("!pip install a && pip install b", "is left out: name it in a requirements file"),
    "pip-bash": (
        "%%bash\n# needs\npip install \\\n  a\npip install b",
        "the cell %%bash is left out: name it",
    ),
    "conda": ("!conda install -y x", "left out"),
    "apt": ("!apt-get -qq install graphviz", "left out"),
    "html": ("%%html\n<b>x</b>", "the cell %%html is left out"),
    "javascript": ("%%javascript\nalert(1)", "the cell %%javascript is left out"),
    "latex": ("%%latex\n$x$", "the cell %%latex is left out"),
    "help": ("print?", "print? is left out"),
    "help-2": ("?print", "?print is left out"),
    "help-3": ("str.join??", "left out"),
    "help-magic": ("%time?", "left out"),
    "tag": (("1/0", ["skip-execution"]), "the cell is left out: it has the tag skip-execution"),
    "colab": ("%tensorflow_version 2.x", "left out: the container image decides"),
    "tensorboard": ("%tensorboard --logdir logs", "left out: hpcdl tensorboard"),
    "in-branch": (
        "if True:\n    %matplotlib inline\nelse:\n    x = 1",
        "line 2: %matplotlib inline",
    ),
}


@pytest.mark.parametrize(("cell", "words"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_left_out_code_is_reported(folder, cell, words):
    """What is left out is said before the first cell runs, and changes nothing else."""
    read = folder.write("x = 1", cell, "print('end', x)")
    status, out, errors = folder.run("x = 1", cell, "print('end', x)")

    assert (status, out) == (0, "end 1\n"), errors
    assert words in errors
    assert read.left_out[0].startswith("nb.ipynb, cell 2, line ")
    assert f"hpcdl: {read.left_out[0]}\n" in errors


REFUSED = {
    "R": ("%%R\nx <- 1", "%%R is not known to hpcdl"),
    "cython": ("%%cython\ncdef int x", "not known"),
    "unknown": ("y = 1\n%tiem y", "line 2: %tiem is not known to hpcdl; did you mean %time?"),
    "cell-unknown": ("%%bsh\nls", "did you mean %%bash?"),
    "pylab": ("%pylab inline", "write import numpy as np"),
    "late": (
        "# fit\n%%time\nfit()",
        "line 2: %%time begins a cell; it must be the first thing in it",
    ),
    "line-as-cell": ("%%matplotlib\nx", "is for one line, not for a cell"),
    "background": ("%%bash --bg\nls", "runs in the background"),
    "value": ("x = %matplotlib", "has no value in a batch job"),
    "old-tensorflow": ("%tensorflow_version 1.x", "asks for TensorFlow 1"),
    "run-option": ("%run -d a.py", "has the option -d"),
    "inside-capture": ("%%capture\nx = 1\n%sql select", "line 3: %sql"),
}


@pytest.mark.parametrize(("cell", "words"), REFUSED.values(), ids=REFUSED)
def test_unsupported_cell_is_refused(folder, cell, words):
    """What hpcdl cannot run is refused before anything is made, with the cell and line that the user has."""
    with pytest.raises(UserError, match=r"nb\.ipynb, cell 2, line \d: ") as refused:
        folder.run("x = 1", cell)

    assert words in str(refused.value)


def test_all_problems_at_once(folder):
    with pytest.raises(UserError) as refused:
        folder.run("%one", "%two")

    assert str(refused.value).count("not known to hpcdl") == 2


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        (["x = 1", "\nx +"], 'File "nb.ipynb, cell 2", line 2'),
        (["x = 1", "%%time\nx +"], 'File "nb.ipynb, cell 2", line 2'),
        (["x = 1", "x = 2\n\n1/0"], 'File "nb.ipynb, cell 2", line 3, in <module>\n    1/0\n'),
        (["def f():\n    1/0", "%%time\nf()"], 'File "nb.ipynb, cell 1", line 2, in f\n    1/0\n'),
        (["x = 1", "if x:\n    %time 1/0"], 'File "nb.ipynb, cell 2", line 2, in <module>'),
        (["x = 1", "%%timeit\n1/0"], 'File "nb.ipynb, cell 2", line 2'),
        (["x = 1", "%%bash\nexit 3"], 'File "nb.ipynb, cell 2", line 1'),
    ],
    ids=["syntax", "syntax-in-time", "error", "function", "time-line", "timeit", "bash"],
)
def test_errors_name_the_cell(folder, cells, place):
    """Tracebacks lead to the cell, and show nothing of hpcdl's own."""
    status, out, errors = folder.run("print('first')", *cells)

    place = place.replace("cell 2", "cell 3").replace("cell 1", "cell 2")
    assert status == 1
    assert place in errors
    assert "hpcdl_support" not in errors
    assert ("first" in out) == ("SyntaxError" not in errors), (
        "a notebook that is not Python does not begin"
    )


def test_failed_command_is_reported(folder):
    status, _, errors = folder.run("!exit 4")

    assert status == 0
    assert errors == "hpcdl: nb.ipynb, cell 1, line 1: !exit 4 ended with exit status 4\n"


def test_captured_output_shown_on_error(folder):
    _, out, _ = folder.run("%%capture\nprint('why')\n1/0")

    assert out == "why\n"


FILES = {
    "list": text_of(["x = 1\n", "print(x)"]),
    "windows": text_of("x = 1\r\n%matplotlib inline\r\nprint(x)"),
    "mark": "\ufeff" + text_of("print(1)"),
    "colab": text_of("print(1)", metadata={"colab": {"provenance": []}, "kernelspec": None}),
    "language-info": text_of("print(1)", metadata={"language_info": {"name": "python"}}),
    "format-3": json.dumps(
        {
            "worksheets": [
                {"cells": [{"cell_type": "code", "input": ["print(1)"], "language": "python"}]}
            ],
            "metadata": {"name": ""},
            "nbformat": 3,
        }
    ),
    "other-cells": json.dumps(
        {
            "cells": [
                {"cell_type": "markdown", "source": "%%time"},
                {"cell_type": "raw", "source": "1/0"},
                {"cell_type": "code", "source": ["print(1)"]},
            ],
            "nbformat": 4,
        }
    ),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_every_kind_of_file(folder, text):
    assert folder.run(text=text)[:2] == (0, "1\n")


def test_run_takes_files_along(folder):
    """``%run`` finds scripts and notebooks by their path from the notebook, and their names are there after."""
    lib = folder.folder / "lib"
    lib.mkdir()
    (lib / "a.py").write_text("import sys, helper\nA = sys.argv[1:] + [__name__, helper.H]\n")
    (lib / "helper.py").write_text("H = 4\n")
    (lib / "b.ipynb").write_text(text_of("%%time\nB = 5"))

    status, out, errors = folder.run("%run lib/a.py x y\n%run ./lib/b.ipynb", "A, B")

    assert status == 0, errors
    assert out.endswith("(['x', 'y', '__main__', 4], 5)\n")


def test_run_of_a_file_from_above(folder):
    """A file from outside the notebook's folder is frozen next to it, and found there."""
    deep = folder.folder / "deep"
    deep.mkdir()
    (folder.folder / "shared.py").write_text("S = 6\n")
    folder.folder = deep

    assert folder.run("%run ../shared", "S")[:2] == (0, "6\n")


def test_problem_in_other_notebook(folder):
    (folder.folder / "b.ipynb").write_text(text_of("%%R\n1"))

    with pytest.raises(UserError, match=r"b\.ipynb, cell 1, line 1: %%R"):
        folder.run("%run b.ipynb")


def test_script_of_reads_all_python(tmp_path):
    """The program to be looked at has the bodies of %%time and %time, and finds its cells again."""
    path = tmp_path / "nb.ipynb"
    path.write_text(
        text_of("%%time\nimport a\n", "%time import b", "x +", "def f():\n    import c")
    )

    source = notebook.script_of(path)
    lines = source.splitlines()

    places = []
    for name in ("import a", "import b", "    import c"):
        places.append(notebook.where("nb.ipynb", source, lines.index(name) + 1))
    assert places == [
        "nb.ipynb, cell 1, line 2",
        "nb.ipynb, cell 2, line 1",
        "nb.ipynb, cell 4, line 2",
    ]


def test_module_of_the_same_name(folder):
    """A notebook model.ipynb may import the model.py beside it."""
    (folder.folder / "nb.py").write_text("N = 3\n")

    assert folder.run("import nb\nnb.N")[:2] == (0, "3\n")


@pytest.mark.cases("F14")
def test_figures_of_cells_are_saved(folder):
    """As Jupyter shows them: at plt.show(), at a cell's end, and where a figure is a cell's value."""
    pytest.importorskip("matplotlib")
    cells = [
        "%matplotlib inline\nimport matplotlib.pyplot as plt",
        "plt.plot([1])\nplt.show()\nplt.plot([2]);",
        "fig, ax = plt.subplots()\n1/1;",
        "ax.plot([3])\nfig",
    ]

    status, out, errors = folder.run(*cells)

    files = sorted(os.listdir(folder.folder / "run" / "figures"))
    assert status == 0, errors
    assert files == ["cell-2-1.png", "cell-2-2.png", "cell-3-1.png", "cell-4-1.png"]
    assert errors.count("hpcdl: figure saved: ") == 4
    assert "Figure(" not in out


def test_picture_with_png_is_saved(folder):
    """display() of something that has a picture, such as Pillow's images, saves it."""
    cell = "class P:\n    def _repr_png_(self): return b'PNG'\ndisplay(P())\nP()"

    folder.run(cell)

    assert sorted(os.listdir(folder.folder / "run" / "figures")) == ["cell-1-1.png", "cell-1-2.png"]
