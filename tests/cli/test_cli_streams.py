"""What is printed and written does not depend on the locale, and never fails for it."""

from __future__ import annotations

import ast
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cases("F21")

REPOSITORY = Path(__file__).resolve().parents[2]
LATIN = "de_DE.ISO-8859-1"
NO_UTF8 = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
LOCALES = {
    "latin1": {"PYTHONIOENCODING": "latin1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "POSIX": NO_UTF8,
    "ISO-8859-1": {"LC_ALL": LATIN},
}
MARENOSTRUM = ("-c", "marenostrum5", "--set", "cluster.account=nct00")
COMMANDS = {
    "check": ("check", "job.yaml", *MARENOSTRUM, "--runs-dir", "runs"),
    "compare": ("compare", "RUN", "RUN"),
    "mistake": ("status", "né…"),
}


@pytest.fixture(scope="module")
def locales(tmp_path_factory):
    """A folder with a locale that is not UTF-8, where one can be made."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef"):
        made = folder / LATIN
        argv = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(made)]
        subprocess.run(argv, capture_output=True, check=False)
    return folder


@pytest.fixture
def there(tmp_path):
    """A folder whose name is neither UTF-8 nor ASCII, with a job and a run."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9 caf\xc3\xa9"
    run = folder + b"/runs/a/20260101-1200-aaaa"
    os.makedirs(run + b"/logs")
    for name, text in {
        b"/job.yaml": "name: a\nscript: a.py\nargs: [é, …]\n",
        b"/a.py": "print('é')\n",
        b"/runs/a/20260101-1200-aaaa/manifest.json": "{}",
        b"/runs/a/20260101-1200-aaaa/submitted.json": '{"backend": "local", "time": 0}',
        b"/runs/a/20260101-1200-aaaa/attempts.jsonl": "".join(
            f'{{"event": "{event}", "attempt": 1, "node": "n", "time": 0, "reason": "failed"}}\n'
            for event in ("start", "end")
        ),
        b"/runs/a/20260101-1200-aaaa/result.json": '{"state": "failed", "message": "né – no…"}',
    }.items():
        Path(os.fsdecode(folder + name)).write_text(text, encoding="utf-8")
    return Path(os.fsdecode(folder)), Path(os.fsdecode(run))


def needs(locale, locales):
    if locale.get("LC_ALL") == LATIN and not (locales / LATIN).is_dir():
        pytest.skip("localedef cannot make an ISO-8859-1 locale here")
    return {**os.environ, **locale, "LOCPATH": str(locales)}


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
@pytest.mark.parametrize("argv", COMMANDS.values(), ids=COMMANDS)
def test_any_locale_prints(there, locales, locale, argv):
    folder, run = there
    words = [str(run) if word == "RUN" else word for word in argv]

    done = subprocess.run(
        [sys.executable, "-m", "hpcdl", *words],
        cwd=folder, env=needs(locale, locales), stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip

    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
    assert done.stdout or done.stderr


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_any_locale_writes_same_files(there, locales, locale):
    """The bytes of a job and of its folder's name reach the script as they are."""
    folder, _ = there
    for name, environment in {"usual": dict(os.environ), "other": needs(locale, locales)}.items():
        subprocess.run(
            [sys.executable, "-m", "hpcdl", "render", "job.yaml", *MARENOSTRUM, "-o", f"{name}/"],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip

    scripts = [(folder / name / "job.sbatch").read_bytes() for name in ("usual", "other")]
    assert scripts[0] == scripts[1]
    assert "'é' '…'".encode() in scripts[0]


def test_latin1_gets_plain_characters(there):
    _, run = there
    done = subprocess.run(
        [sys.executable, "-m", "hpcdl", "result", run],
        env={**os.environ, "PYTHONIOENCODING": "latin1"}, capture_output=True,
    )  # fmt: skip

    assert b"n\xe9 - no..." in done.stdout


def test_terminal_gets_its_own_encoding(there, locales):
    """On a terminal in an ISO-8859-1 locale an é is one byte, and a tick is a word."""
    _, run = there
    environment = needs(LOCALES["ISO-8859-1"], locales)
    ours, its = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "hpcdl", "result", run], env=environment, stdout=its, check=False
    )
    os.close(its)
    text = os.read(ours, 10_000)
    os.close(ours)

    assert b"n\xe9 - no..." in text


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_printed_path_keeps_its_bytes(there, locales, locale):
    """A path that is printed into a pipe is that path, byte by byte."""
    if "PYTHONIOENCODING" in locale:
        pytest.skip("the user chose other bytes")
    folder, _ = there
    done = subprocess.run(
        [sys.executable, "-m", "hpcdl", "jobs", "copy", "mnist_cnn", "copy"],
        cwd=folder, env=needs(locale, locales), capture_output=True, check=True,
    )  # fmt: skip
    page = subprocess.run(
        [sys.executable, "-m", "hpcdl", "report", "20260101", "--runs-dir", "runs"],
        cwd=folder, env=needs(locale, locales), capture_output=True, check=True,
    )  # fmt: skip

    assert done.stdout == b"copy/mnist_cnn.yaml\n"
    assert os.path.isfile(page.stdout.rstrip(b"\n"))


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "</dev/null >/dev/null"])
def test_closed_streams_cause_no_failure(closed):
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m hpcdl cluster list {closed}', sys.executable],
        capture_output=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_full_stdout_gives_one_sentence():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hpcdl", "cluster", "list"], stdout=full, stderr=subprocess.PIPE
        )

    assert done.returncode == 1
    assert done.stderr.startswith(b"hpcdl: standard output: No space left on device; ")
    assert done.stderr.count(b"\n") == 1


def test_reader_that_quits_is_fine():
    command = '"$0" -m hpcdl jobs keys | head -1; exit ${PIPESTATUS[0]}'
    done = subprocess.run(["bash", "-c", command, sys.executable], capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")


OTHER_OPENERS = {
    "opener",
    "images",
    "self",
    "os",
    "Image",
    "tarfile",
    "gzip",
    "archive",
}  # these give bytes


def is_binary(call: ast.Call) -> bool:
    """Whether a mode with a "b" is among the arguments."""
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "b" in node.value:
                return True
    return False


def depends_on_locale(call: ast.Call) -> bool:
    """Whether text is read or written in an encoding that the call does not name."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    keywords = {keyword.arg for keyword in call.keywords}
    if "encoding" in keywords:
        return False
    if name in ("run", "Popen", "check_output"):
        return bool(keywords & {"text", "universal_newlines"})
    if name == "read_text":
        return not call.args
    if name == "write_text":  # hpcdl.files has a function of this name
        return isinstance(call.func, ast.Attribute)
    if name in ("open", "fdopen", "TemporaryFile", "NamedTemporaryFile"):
        owner = getattr(call.func, "value", None)
        is_other = isinstance(owner, ast.Call) or getattr(owner, "id", "") in OTHER_OPENERS
        return not is_other and not is_binary(call)
    return False


def locale_calls(source: str) -> list[int]:
    """The lines with such calls."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if depends_on_locale(call)]


@pytest.mark.parametrize(
    ("call", "is_text"),
    [
        ("open(x)", True),
        ("open(x, 'rb')", False),
        ("open(x, encoding='utf-8')", False),
        ("path.read_text()", True),
        ("path.write_text('a', encoding='utf-8')", False),
        ("subprocess.run(x, text=True)", True),
        ("subprocess.run(x)", False),
    ],
)
def test_locale_call_is_seen(call, is_text):
    assert bool(locale_calls(call)) == is_text


def test_no_file_depends_on_the_locale():
    """hpcdl names the encoding of each text; what the kernel writes in ASCII is excused by name."""
    excused = {"process_start.py", "memory.py"}  # these read /proc and /sys
    places = []
    for path in sorted((REPOSITORY / "hpcdl").rglob("*.py")):
        if path.name not in excused:
            lines = locale_calls(path.read_text(encoding="utf-8"))
            places += [f"{path.relative_to(REPOSITORY)}:{line}" for line in lines]

    assert places == []
