"""The host Python is asked once for as long as nothing that its answer rests on changes."""

from __future__ import annotations

import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from hpcdl import cache
from hpcdl.preflight import ask_host_python

# A Python that notes each start, with a folder of packages of its own
PYTHON = """#!/bin/sh
echo started >>{folder}/starts
[ -z "$PYTHONPATH" ] || PYTHONPATH={folder}/packages:$PYTHONPATH
export PYTHONPATH
exec {python} "$@"
"""


@pytest.fixture
def host(world):
    """The small site with such a Python, whose packages are older than any question."""
    packages = world.folder / "packages"
    packages.mkdir()
    world.write("packages/addition.py", "")
    world.command("hostpython", PYTHON.format(folder=world.folder, python=sys.executable))
    let_it_be_old(packages, packages / "addition.py", world.bin / "hostpython")
    return world


def let_it_be_old(*paths: Path) -> None:
    """Wait until these are older than a question that comes now."""
    newest = max(path.stat().st_ctime_ns for path in paths)
    while time.time_ns() <= newest + 2 * ask_host_python._TICK_NS:
        time.sleep(0.01)


def ask(world, *sets):
    """What the check finds, and how often the Python was started for it."""
    starts = world.folder / "starts"
    before = starts.read_text() if starts.exists() else ""
    report = world.check(
        "model.yaml", f"cluster.host_python={world.bin}/hostpython", *sets, only="host Python"
    )
    after = starts.read_text() if starts.exists() else ""
    return [finding.cause for _, finding in report.findings], after.count("\n") - before.count("\n")


def test_host_python_is_asked_once(host):
    assert ask(host) == ([], 1)
    assert ask(host) == ([], 0)


def break_submitit(host):
    (host.folder / "packages/submitit.py").write_text("raise ImportError('it is broken')\n")


def test_newly_installed_package_is_noticed(host):
    """A package that comes into its folders may take the place of another one."""
    ask(host)

    break_submitit(host)
    causes, starts = ask(host)

    assert ("it is broken" in causes[0], starts) == (True, 1)


def test_changed_pth_file_is_noticed(host):
    """A .pth file that is edited in place changes what an import finds, though its folder's time stays."""
    environment = host.folder / "environment"
    other = host.folder / "other"
    other.mkdir()
    (other / "submitit.py").write_text("raise ImportError('it is broken')\n")
    make_environment(environment, [])
    let_it_be_old(*environment.rglob("*"))
    (folder,) = environment.glob("lib/*/site-packages")
    given = f"cluster.host_python={environment}/bin/python"
    assert host.check("model.yaml", given, only="host Python").findings == []
    kept = cache.load("host-python.json")
    assert [str(folder / "packages.pth") in answer["stamps"] for answer in kept.values()] == [True]

    with (folder / "packages.pth").open("r+") as stream:
        lines = stream.read()
        stream.seek(0)
        stream.write(f"import sys; sys.path.insert(0, {str(other)!r})\n{lines}")

    (found,) = host.check("model.yaml", given, only="host Python").findings
    assert "it is broken" in found[1].cause


def make_environment(folder: Path, lines: list[str]) -> None:
    """A virtual environment with this Python's packages."""
    import venv

    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/*/site-packages")
    given = [place for place in sys.path if place.endswith("site-packages")]
    (packages / "packages.pth").write_text("\n".join([*lines, *given, ""]))


def test_edited_module_is_noticed(host):
    """A loaded module keeps its folder's time when it is written in place."""
    (host.folder / "packages/cloudpickle").mkdir()
    spec = find_spec("cloudpickle")
    original = Path(spec.origin).parent if spec and spec.origin else Path()
    for file in original.glob("*.py"):
        shutil.copy(file, host.folder / "packages/cloudpickle")
    let_it_be_old(host.folder / "packages", *(host.folder / "packages/cloudpickle").iterdir())
    assert ask(host) == ([], 1)
    assert ask(host) == ([], 0)

    with (host.folder / "packages/cloudpickle/__init__.py").open("w") as stream:
        stream.write("raise ImportError('half an upgrade')\n")

    causes, starts = ask(host)
    assert ("half an upgrade" in causes[0], starts) == (True, 1)


def test_other_interpreter_is_asked(host):
    ask(host)

    host.command("hostpython", "#!/bin/sh\necho this is gone >&2\nexit 1\n")

    causes, _ = ask(host)
    assert "cannot run hpcdl's worker: this is gone" in causes[0]


def test_negative_answer_is_not_cached(host):
    """Whoever installs what was missing is believed at once."""
    break_submitit(host)
    assert ask(host)[0]

    (host.folder / "packages/submitit.py").unlink()

    assert ask(host) == ([], 1)


def test_change_during_question_is_not_cached(host):
    """A file that was written during the question: nobody knows which of the two was loaded."""
    touching = PYTHON.replace("exec", "touch {folder}/packages\nexec")
    host.command("hostpython", touching.format(folder=host.folder, python=sys.executable))

    assert ask(host) == ([], 1)
    assert ask(host) == ([], 1)


@pytest.mark.parametrize("change", ["modules", "environment", "hpcdl", "age"])
def test_changed_question_is_asked_again(host, monkeypatch, change):
    host.write("init.sh", "module() { :; }\n")
    modules = [f"cluster.module_init={host.folder}/init.sh", "cluster.host_modules=[python]"]
    let_it_be_old(host.folder / "init.sh")
    assert ask(host, *modules) == ([], 1)
    assert ask(host, *modules) == ([], 0)

    if change == "modules":
        modules[1] = "cluster.host_modules=[python/3.12]"
    elif change == "environment":
        monkeypatch.setenv("MODULEPATH", "/opt/other")
    elif change == "hpcdl":
        monkeypatch.setattr("hpcdl.submission.prepare.code_sha", lambda: "0123456789abcdef")
    else:
        later = time.time() + 25 * 3600
        monkeypatch.setattr("time.time", lambda: later)

    assert ask(host, *modules) == ([], 1)


def test_changed_modulefile_is_noticed(host):
    """The same line loads something else after the site has changed it."""
    (host.folder / "modulefiles").mkdir()
    modulefile = host.write("modulefiles/python", "#%Module\n")
    host.write("init.sh", f"module() {{ export _LMFILES_={modulefile}; }}\n")
    modules = [f"cluster.module_init={host.folder}/init.sh", "cluster.host_modules=[python]"]
    let_it_be_old(modulefile, host.folder / "init.sh")
    assert ask(host, *modules) == ([], 1)
    assert ask(host, *modules) == ([], 0)

    modulefile.write_text("#%Module\nprepend-path LD_LIBRARY_PATH /opt/other\n")

    assert ask(host, *modules) == ([], 1)


def test_damaged_cache_is_ignored(host):
    ask(host)
    for stored in (
        {"x": 1},
        {"x": {"time": "now", "stamps": {}}},
        {"x": {"time": 1.0, "stamps": []}},
    ):
        cache.store("host-python.json", stored)
        assert ask(host) == ([], 1)


def test_host_python_without_cache(host, monkeypatch):
    """Without a usable cache each command asks again."""
    (host.folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(host.folder / "file"))

    assert ask(host) == ([], 1)
    monkeypatch.setattr(cache, "_in_memory", {})  # another command
    assert ask(host) == ([], 1)


def test_host_python_ignores_current_folder(host, monkeypatch):
    """The worker starts in the run's folder: a file of the user's that is named like a module does not matter."""
    host.write("json.py", "raise ImportError('not that json')\n")
    monkeypatch.chdir(host.folder)

    assert ask(host) == ([], 1)


def test_program_that_is_not_python(host):
    """A yes is an answer, not an exit status."""
    host.command("hostpython", "#!/bin/sh\n")

    causes, _ = ask(host)

    assert "cannot run hpcdl's worker: it ended without an answer; expected a Python" in causes[0]
