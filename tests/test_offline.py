"""The installer for sites without internet: built here, then used in a network namespace without a way out."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import hpcdl
from tests.test_docs import REPOSITORY, blocks
from tests.wheels import wheel

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the file is built for x86_64, and run"
)
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
OFFLINE = REPOSITORY / ".ci" / "offline"
PAGE = REPOSITORY / "docs" / "no-internet.md"
BUSY = "another installer works there"
NO_NETWORK = re.compile(r"NewConnectionError|Name or service not known|ConnectTimeout")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """The installer with the wheels of this Python, hastily packed."""
    for module in ("hatchling", "packaging", "tomllib"):
        pytest.importorskip(module, reason="the installer is built with it")
    folder = tmp_path_factory.mktemp("offline")
    argv = [f"{OFFLINE}/build.py", "--arch", "x86_64", "--python", PYTHON]
    done = subprocess.run(
        [sys.executable, *argv, "--preset", "0", "--output", str(folder)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip("the wheels come from PyPI, which cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    (path,) = Path(folder).glob("*.run")
    return path


@pytest.fixture
def wheels_module() -> ModuleType:
    for name in ("packaging", "tomllib"):
        pytest.importorskip(name, reason="the installer is built with it")
    return module_of("wheels")


@pytest.fixture
def install_module() -> ModuleType:
    return module_of("install")


def module_of(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"offline_{name}", OFFLINE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Site:
    """A login node: an empty home with a hostile name, one Python that fits, and no network."""

    folder: Path
    file: Path

    @property
    def prefix(self) -> Path:
        return self.folder / "home" / "hpcdl-offline"

    @property
    def env(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "LANG": "C",
            # What people have set must not reach the installer's pip
            "PIP_INDEX_URL": "https://example.invalid/simple",
            "PIP_USER": "1",
        }

    def start(self, *argv: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["unshare", "--net", *map(str, argv)], cwd=self.folder / "work", env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *argv: object, status: int = 0) -> str:
        """What a command says on both streams; its exit status must be as expected."""
        begin = time.monotonic()
        process = self.start(*argv)
        out, err = process.communicate(timeout=300)
        print(f"{time.monotonic() - begin:5.1f} s  {' '.join(map(str, argv))[:90]}")
        assert process.returncode == status, out + err
        return out + err

    def page(self, where: str, before: str = ":") -> str:
        return self.run("dash", "-euc", f"{before}\n{blocks(PAGE, where)}")

    def environments(self) -> list[str]:
        return sorted(path.name for path in self.prefix.iterdir() if (path / "pyvenv.cfg").exists())


def login_node(folder: Path, file: Path) -> Site:
    for name in ("home", "work", "bin"):
        (folder / name).mkdir(parents=True)
    os.link(file, folder / "work" / file.name)
    base = Path(sys.base_prefix, "bin", f"python{PYTHON}")
    (folder / "bin" / f"python{PYTHON}").symlink_to(base)
    broken = folder / "bin" / ("python3.14" if PYTHON != "3.14" else "python3.13")
    broken.write_text("#!/bin/sh\necho 'no such version' >&2\nexit 127\n")  # as a shim of pyenv
    broken.chmod(0o755)
    return Site(folder, file)


@pytest.fixture(scope="module")
def site(file, tmp_path_factory) -> Site:
    """A login node with the page's first commands run on it."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("a network namespace needs root")
    folder = tmp_path_factory.mktemp("site") / 'it\'s "a" $(touch pwned) b'
    made = login_node(folder, file)
    devices = made.run("cat", "/proc/self/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    page = made.page("offline")
    print(page)
    assert f"hpcdl {hpcdl.__version__}\n" in page
    return made


def test_page_installs_renders_and_runs(site):
    """The page's commands ran; what they promise is there."""
    (run,) = site.folder.glob("work/runs/hello/*/logs/1.log")

    assert run.read_text() == "it works\n"
    assert site.environments() == [f"{hpcdl.__version__}-py{PYTHON}"]
    assert not list(site.folder.rglob("pwned"))
    assert "No broken requirements" in site.run(python_of(site), "-m", "pip", "check")
    outside = {path.name for path in site.prefix.parent.iterdir()} - {"hpcdl-offline"}
    assert outside <= {".cache", ".config"}, "hpcdl's own"


def python_of(site: Site) -> Path:
    return site.prefix / site.environments()[-1] / "bin" / "python"


def test_restored_wheels_match_their_records(site):
    """Each installed file has the sum of its wheel's RECORD, as pip wrote it."""
    check = """if 1:
        import base64, hashlib, importlib.metadata as m
        files = [f for d in m.distributions() for f in d.files or [] if f.hash]
        for f in files:
            digest = hashlib.new(f.hash.mode, f.locate().read_bytes()).digest()
            assert f.hash.value == base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), f
        print(len(files) > 1000, "numpy" in m.packages_distributions())
    """
    assert site.run(python_of(site), "-I", "-c", check) == "True True\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-5000], "is not whole: it has"),
        (lambda data: data[:3000], "is not whole: it has"),
        (lambda data: data + b"\n", "is not whole: it has"),
        (lambda data: data[:-5000] + b"x" + data[-4999:], "was changed on its way"),
        (lambda data: data.replace(b"hpcdl-offline", b"hpcdl-Offline", 1), "was changed"),
    ],
    ids=["truncated", "cut in its head", "longer", "changed", "changed in its head"],
)
def test_damaged_file_is_refused(file, tmp_path, change, words):
    site = login_node(tmp_path / "node", file)
    damaged = tmp_path / "a damaged.run"
    damaged.write_bytes(change(file.read_bytes()))
    done = subprocess.run(["dash", damaged], env=site.env, capture_output=True, text=True)

    assert done.returncode == 1
    assert words in done.stderr
    assert "copy it again" in done.stderr
    assert list((tmp_path / "node/home").iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["setarch", "i686", "sh", "FILE"], 1, "for Linux x86_64, and this machine is Linux i686"),
        (["sh", "FILE", "--python", "python3.99"], 2, "python3.99: there is no such program"),
        (["sh", "FILE", "--python=/bin/true"], 2, "/bin/true: it is no Python"),
        (["sh", "FILE", "--frob"], 2, "unrecognized arguments: --frob"),
        (["sh", "FILE", "--prefix", "FULL"], 2, "is not empty, and no installer made it"),
        (["sh", "FILE", "--prefix", "a:b"], 2, "which PATH cannot hold"),
        (["sh", "FILE", "--remove", "--prefix", "FULL"], 2, "was not made by this installer"),
        (["sh", "FILE", "--prune"], 2, "was not made by this installer"),
        (["env", "-u", "HOME", "sh", "FILE"], 2, "HOME is not set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_refused(file, tmp_path, argv, status, words):
    site = login_node(tmp_path / "node", file)
    home = tmp_path / "node" / "home"
    (home / "thesis.txt").write_text("mine")
    places = {"FILE": str(file), "FULL": str(home)}
    done = subprocess.run(
        [places.get(word, word) for word in argv],
        env=site.env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]


def test_pythons_that_do_not_fit_are_named(file, tmp_path):
    site = login_node(tmp_path / "node", file)
    (tmp_path / "node/bin" / f"python{PYTHON}").unlink()
    env = {**site.env, "PATH": f"{tmp_path}/node/bin"}
    tools = ["uname", "cat", "wc", "sed", "head"]
    for tool in tools:
        (tmp_path / "node/bin" / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(["/bin/sh", file], env=env, capture_output=True, text=True)

    assert done.returncode == 1
    assert f"needs one of {PYTHON}" in done.stderr
    assert re.search(r"/bin/python3.1\d: no such version\n", done.stderr)
    assert "--python /path/to/python3" in done.stderr


@pytest.fixture
def mounts() -> list[str]:
    """The words before a command that may mount: it gets a namespace of its own, in which it is root."""
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run(
        [*words, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True
    ).returncode:
        pytest.skip("no user namespace here may mount")
    return words


def test_small_disk_is_refused(file, tmp_path, mounts):
    """Before anything is unpacked, and no folder that was made for it stays."""
    site = login_node(tmp_path / "node", file)
    script = """
        mount -t tmpfs -o size=40m tmpfs "$HOME"
        dash "$0" --prefix "$HOME/a b/c"
        status=$?
        find "$HOME" -mindepth 1
        exit $status"""
    said = site.run(*mounts, "dash", "-uc", script, file, status=1)

    needs = r"has 4\d MB free, and hpcdl needs 2\d\d; give another --prefix DIR"
    assert re.fullmatch(rf"hpcdl-installer: {site.prefix.parent}/a b/c {needs}\n", said), said


# A copy of $1 on a small disk in its place, which a file of somebody else's fills as soon as $2 is there
FILLED = """
    mount --bind "$1" mnt
    mount -t tmpfs -o size=400m tmpfs "$1"
    cp -a mnt/. "$1"
    dash "$0" &
    while kill -0 $! && ! [ -e "$1/$2" ]; do sleep 0.01; done
    dd if=/dev/zero of="$1/taken" bs=1M status=none
    wait $!
    status=$?
    rm "$1/taken"
    ! [ -e "$1/bin/hpcdl" ] || "$1/bin/hpcdl" --version
    find "$1" -mindepth 1 -maxdepth 1 -printf '%f\\n'
    exit $status"""


@pytest.mark.parametrize("moment", ["wheels", f"lib/python{PYTHON}/site-packages/numpy"])
def test_disk_becomes_full_in_an_upgrade(site, mounts, moment):
    """The old version stays in use, and nothing of the new one is left."""
    (site.folder / "work/mnt").mkdir(exist_ok=True)
    (first,) = site.environments()
    argv = ["dash", "-uc", FILLED, site.file, site.prefix, f"{first}-2/{moment}"]
    said = site.run(*mounts, *argv, status=1)

    assert "No space left on device" in said
    assert "what was installed is as it was" in said
    assert said.endswith("your quota is used up: make room there, or give another --prefix DIR\n")
    assert "Traceback" not in said
    lines = said.splitlines()
    begin = lines.index(f"hpcdl {hpcdl.__version__}")
    assert sorted(lines[begin + 1 : begin + 5]) == [".lock", first, "bin", "installed.json"]


def test_disk_becomes_full_at_first(file, tmp_path, mounts):
    site = login_node(tmp_path / "node", file)
    (site.folder / "work/mnt").mkdir()
    home = site.prefix.parent
    moment = f"{site.prefix.name}/{hpcdl.__version__}-py{PYTHON}/wheels"
    said = site.run(*mounts, "dash", "-uc", FILLED, file, home, moment, status=1)

    first, *rest = said.splitlines()
    assert first.startswith(f"installing hpcdl {hpcdl.__version__}")
    assert "No space left on device" in rest[0] + rest[-1]
    assert site.prefix.name not in rest


def test_installation_lives_through_upgrades(site):
    """Killed halfway, upgraded under busybox, pruned, removed: there is always a whole hpcdl until the end."""
    first = site.environments()[0]
    own = site.prefix / first / f"lib/python{PYTHON}/site-packages" / "mine-1.0.dist-info"
    own.mkdir()

    process = site.start("dash", site.file)
    half = site.prefix / f"{first}-2"
    wait_for(lambda: list(half.glob("lib/python*/site-packages/numpy")), process)
    process.kill()
    process.communicate()
    wait_for_end_of(half)
    assert half.is_dir()
    assert site.run(site.prefix / "bin/hpcdl", "--version") == f"hpcdl {hpcdl.__version__}\n"

    process = site.start("dash", site.file)
    wait_for(lambda: not half.exists(), process)
    wait_for((half / "pyvenv.cfg").exists, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "what was installed before is as it was" in err
    assert site.environments() == [first]

    if shutil.which("busybox"):
        (site.folder / "bin/sh").symlink_to(shutil.which("busybox") or "")
    settings = [site.folder / "work/hpcdl.yaml", site.folder / "home/.config/hpcdl/config.yaml"]
    for path in settings:  # what hpcdl refuses is no reason to install none
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no: [such\n")
    said = site.page("offline_upgrade", before="umask 000; export XDG_CONFIG_HOME=$HOME/.config")
    for path in settings:
        path.unlink()
    others_may_write = [path for path in files(site) if path.stat().st_mode & 0o022]
    assert others_may_write == []
    assert "packages of yours, which the new one lacks" in said
    assert " mine\n" in said
    assert "Jobs that were sent before still use" in said
    assert site.environments() == [first, f"{first}-2"]
    assert f"{first}-2/bin/python" in (site.prefix / "bin/hpcdl").read_text()
    old = site.prefix / first / "bin"
    assert site.run(old / "python", old / "hpcdl", "--version") == f"hpcdl {hpcdl.__version__}\n"

    assert f"removed {site.prefix}/{first}\n" in site.page("offline_prune")
    assert site.environments() == [f"{first}-2"]
    assert site.run(site.prefix / "bin/hpcdl", "--version") == f"hpcdl {hpcdl.__version__}\n"

    (site.prefix / "notes.txt").write_text("mine")
    said = site.page("offline_remove")
    assert "left what the installer did not make: notes.txt" in said
    assert [path.name for path in site.prefix.iterdir()] == ["notes.txt"]


def files(site: Site) -> list[Path]:
    """What the installer made: bin/hpcdl, and the newest environment's files and folders."""
    newest = site.prefix / site.environments()[-1]
    paths = [newest, *newest.rglob("*"), site.prefix / "bin/hpcdl", site.prefix / "installed.json"]
    return [path for path in paths if not path.is_symlink()]


def test_prefix_that_is_a_link(install_module, tmp_path):
    """The folder that it leads to is used, made and removed; the folders above keep their names."""
    (tmp_path / "far").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "far")
    (tmp_path / "link").symlink_to(tmp_path / "far/new")
    prefix_of = install_module.prefix_of

    assert prefix_of(str(tmp_path / "link")) == tmp_path / "far/new"
    assert prefix_of(str(tmp_path / "home/x")) == tmp_path / "home/x"
    record = install_module.Record(prefix_of(str(tmp_path / "link")))
    with record.alone(may_claim=True):
        record.remove()
    assert not (tmp_path / "far/new").exists()


def test_first_installers_at_once(install_module, tmp_path):
    """The second one is refused, and takes nothing from the first one's record."""
    first, second = (install_module.Record(tmp_path / "prefix") for _ in range(2))
    with first.alone(may_claim=True):
        folder = first.new_folder("1.0")
        folder.mkdir()
        with pytest.raises(install_module.RefusalError, match=BUSY), second.alone(may_claim=True):
            pass
    with second.alone(may_claim=True):
        assert second.folders() == [folder]


def test_lock_that_was_removed_is_none(install_module, tmp_path, monkeypatch):
    """Its holder had --remove: who opened it before and locks it now is not alone."""
    record = install_module.Record(tmp_path / "prefix")
    lock = install_module.fcntl.flock

    def lock_late(file, how):
        (tmp_path / "prefix/.lock").rename(tmp_path / "removed")
        (tmp_path / "prefix/.lock").touch()  # another one's already
        lock(file, how)

    monkeypatch.setattr(install_module.fcntl, "flock", lock_late)
    with pytest.raises(install_module.RefusalError, match=BUSY), record.alone(may_claim=True):
        pass


def test_disk_becomes_full_at_last(install_module, tmp_path, monkeypatch):
    """All is unpacked, and bin/hpcdl cannot be written: the environment goes again."""

    class Stream:
        def __init__(self, _):
            self.index = {"version": "1.0", "pythons": {install_module.PYTHON: {"wheels": {}}}}

        def restore(self, wheels, folder):
            folder.mkdir(parents=True)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(install_module, "Stream", Stream)
    for name in ("check_machine", "fill", "try_out"):
        monkeypatch.setattr(install_module.Installation, name, lambda *_: None)
    monkeypatch.setattr(install_module.Record, "use", full)
    record = install_module.Record(tmp_path / "prefix")
    with pytest.raises(install_module.RefusalError, match="as it was"), record.alone(True):
        install_module.Installation("file", b"", record).install()
    assert not (tmp_path / "prefix").exists()


def test_markers_are_read_for_the_target(wheels_module, tmp_path):
    """pip reads them as if for the Python that it runs on."""
    needs = ["old; python_version < '3.11'", "new>=2; python_version >= '3.14'", "Not.Here"]
    wheel(tmp_path, "mine", requires=[*needs, "extra; extra == 'more'", "here"])
    wheel(tmp_path, "here")

    assert wheels_module.lacking(tmp_path, "x86_64", "3.10") == ["Not.Here", "old"]
    assert wheels_module.lacking(tmp_path, "x86_64", "3.14") == ["Not.Here", "new>=2"]


def test_missing_wheel_stops_the_build(wheels_module, tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels.txt").write_text("")
    with pytest.raises(wheels_module.NoWheelsError) as caught:
        wheels_module.download(["numpy==2.5.0"], tmp_path / "wheels", "aarch64", "3.10")

    if NO_NETWORK.search(str(caught.value)):
        pytest.skip("PyPI cannot be reached")
    assert "Python 3.10 on aarch64, of numpy==2.5.0" in str(caught.value)


def wait_for(happened, process) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_end_of(folder: Path) -> None:
    """The pip of a killed installer has no parent; it ends by itself."""
    deadline = time.monotonic() + 120
    while any(str(folder) in line for line in commands()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def commands() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return lines
