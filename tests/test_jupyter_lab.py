"""jobs/jupyter_lab.py with its modules: who may use the page, how long it waits; JupyterLab has a stand-in."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

JOBS = Path(__file__).parents[1] / "jobs"
SERVER = """
import http.server, os, sys
def main():
    options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response({status})
            self.end_headers()
    address = options["ServerApp.ip"], int(options["ServerApp.port"])
    http.server.HTTPServer(address, Handler).serve_forever()
"""
# It knows its user, and lets everybody in at some places, or from a moment on
LEAKS = """
import http.server, os, sys
def main():
    options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
    token = open(os.environ["JUPYTER_TOKEN_FILE"]).read()
    seen = []
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            if token in self.headers.get("Authorization", "") or {leak}:
                self.send_response(200)
            elif self.path == "/lab":
                self.send_response(302)
                self.send_header("Location", "/login?next=%2Flab")
            else:
                self.send_response(200 if self.path == "/login" else 403)
            self.send_header("Set-Cookie", "visited=yes; Path=/")
            self.end_headers()
    address = options["ServerApp.ip"], int(options["ServerApp.port"])
    http.server.HTTPServer(address, Handler).serve_forever()
"""
# What it is started with; the token stands in no line that is printed
TELLS = """
import hashlib, os, sys
def main():
    token = open(os.environ["JUPYTER_TOKEN_FILE"]).read()
    for word in sys.argv[1:]:
        if token in word:
            print("as an option:", word.partition("=")[0])
    print("seen by others:", token in open("/proc/self/cmdline").read())
    print("from the image:", os.environ.get("JUPYTER_TOKEN"))
    print("umask:", oct(os.umask(0)))
    print("token file:", oct(os.stat(os.environ["JUPYTER_TOKEN_FILE"]).st_mode & 0o777))
    print("try:", hashlib.sha256(token.encode()).hexdigest(), flush=True)
    return 3
"""
# Another user's program, which says what it gets
LISTENER = """
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
print(server.getsockname()[1], flush=True)
while True:
    print(server.accept()[0].recv(1000), flush=True)
"""


@pytest.fixture
def lab(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(JOBS))
    return importlib.import_module("jupyter_lab")


@pytest.fixture
def ports(lab) -> ModuleType:
    return importlib.import_module("jupyter_ports")


@pytest.fixture
def start(tmp_path):
    """Runs the program to its end with a stand-in, after a change of its constants."""

    def run(text: str, change: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        package = tmp_path / "packages" / "jupyterlab"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "labapp.py").write_text(text)
        (tmp_path / "tmp").mkdir()
        (tmp_path / "run").mkdir()
        env = {**os.environ, "PYTHONPATH": f"{package.parent}:{JOBS}", **variables}
        env.update(HPCDL_STOP_FILE=str(tmp_path / "run/stop"), TMPDIR=str(tmp_path / "tmp"))
        program = (
            f"import sys, jupyter_lab, jupyter_process\n{change}\nsys.exit(jupyter_lab.main())"
        )
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path, env=env, umask=0o027, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    yield run
    assert os.listdir(tmp_path / "run") == os.listdir(tmp_path / "tmp") == []


def test_token_beats_the_images(start):
    """An option beats every file of etc/jupyter; nobody sees the token, and files are the user's."""
    said = start(TELLS, JUPYTER_TOKEN="of the image")
    options = [f"as an option: --{app}.token" for app in ("ServerApp", "LabApp", "NotebookApp")]

    assert said.returncode == 3
    assert said.stdout.splitlines()[:-1] == [
        *options, "seen by others: False", "from the image: None",
        "umask: 0o27", "token file: 0o600",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "lets everybody in without the token: GET /api/status gave status 200"),
        (403, "refuses its own token (status 403), so the notebook is ended"),
        (503, "has not answered within 1 seconds"),
    ],
)
def test_server_of_no_use_is_ended(start, status, words):
    """Whatever the image sets, a page without its token is no page; and a GPU waits for it."""
    said = start(SERVER.format(status=status), "jupyter_process.START_S = 1")

    assert said.returncode == 1
    assert f"hpcdl: JupyterLab {words}" in said.stderr


@pytest.mark.parametrize(
    ("leak", "question"),
    [
        ("self.path == '/api/kernels'", "GET /api/kernels"),
        ("self.path == '/lab'", "GET /lab"),
        ("self.headers['Upgrade']", "a websocket at /api/kernels/0-0-0-0-0/channels"),
        ("'/terminals/web' in self.path", "a websocket at /terminals/websocket/hpcdl"),
        ("self.headers['Cookie']", "GET /api/contents?content=0 with the cookies of /login"),
        # From its second look on: an extension has let others in meanwhile
        ("'/login' in seen and not self.headers['Cookie']", "GET /api/contents?content=0"),
    ],
)
def test_leaking_server_is_ended(start, tmp_path, leak, question):
    """Nobody but its user gets anything from it; who is refused there learns which files to look into."""
    setting = tmp_path / "etc/jupyter_server_config.py"
    setting.parent.mkdir()
    setting.touch()
    looks = "jupyter_lab.LOOK_AGAIN_S = 0"
    said = start(LEAKS.format(leak=leak), looks, JUPYTER_CONFIG_PATH=str(setting.parent))

    assert said.returncode == 1
    assert f"without the token: {question} gave status 200, not 401 or 403" in said.stderr
    assert f"what Jupyter reads here: {setting}" in said.stderr
    assert "a setting in one of these files does this" in said.stderr


def test_busy_server_lets_nobody_in(lab):
    """A status of 500 and above tells nothing of who may enter: a living notebook goes on."""
    access = importlib.import_module("jupyter_access")

    with pytest.raises(HTTPException, match="busy"):
        access.require_refusal(SimpleNamespace(status=503, leads_to_login=False), "GET /lab")


@pytest.fixture
def other_users_port():
    """The port on which another user's program listens, and the program."""
    python = "/usr/bin/python3"  # which every user may start
    if os.geteuid() != 0 or not os.path.exists(python):
        pytest.skip("only root starts another user's program")
    argv = [python, "-c", LISTENER]
    with subprocess.Popen(argv, user=65534, cwd="/", stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        yield int(program.stdout.readline()), program
        program.kill()


def test_other_listener_gets_nothing(start, other_users_port):
    """It took the port between the look and the server's start; the next try has another token."""
    port, program = other_users_port
    change = f"free = jupyter_process.free_port\nports = [{port}]\n"
    change += "jupyter_process.free_port = lambda: ports.pop() if ports else free()\n"
    waits = TELLS.replace("return 3", "import time; time.sleep(1); return 3")
    said = start(waits, change)
    program.kill()
    tries = [line for line in said.stdout.splitlines() if line.startswith("try: ")]

    assert said.returncode == 3
    assert len(set(tries)) == 2
    assert program.stdout.read() == ""


def test_own_listener_is_known(ports):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not ports.is_listener_ours(port)
        server.listen()
        assert ports.is_listener_ours(port)


def test_end_is_the_jobs(lab, monkeypatch):
    """Not counted from the page's start: an image may take minutes to start."""
    assert lab.end_of_job(60.0) is None
    monkeypatch.setenv("HPCDL_END_TIME", "1000")

    assert lab.end_of_job(60.0) == 940.0
    assert lab.end_of_job(None) is None
