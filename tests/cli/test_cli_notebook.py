"""`hpcdl notebook` and `shell --on-node` without a cluster: what is said, refused and sent."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from http.client import HTTPConnection
from pathlib import Path

import pytest

import hpcdl.preflight.jupyterlab
from hpcdl.cli.notebook_page import show_page
from hpcdl.cluster import load_cluster
from hpcdl.job import load_job
from hpcdl.jupyter.job import as_notebook
from hpcdl.jupyter.page import Page, read_page, ssh_line
from hpcdl.planning import plan
from hpcdl.run import Run
from hpcdl.run.state import Status
from hpcdl.scheduler.interactive import outside_environment, srun_alone

# Stands in for JupyterLab, which the test suite's Python does not have: its server, and no page
SERVER = """
import http.server, os, sys
def main():
    options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
    token = open(os.environ["JUPYTER_TOKEN_FILE"]).read()
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_user = token in self.headers.get("Authorization", "") + self.path
            self.send_response(200 if is_user else 403)
            self.end_headers()
            print("asked for", self.path, flush=True)
    print("the job's end:", os.environ["HPCDL_END_TIME"], flush=True)
    address = options["ServerApp.ip"], int(options["ServerApp.port"])
    http.server.HTTPServer(address, Handler).serve_forever()
"""
BROKEN = "def main():\n    print('no module named tornado')\n    return 3\n"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder in which `hpcdl notebook --backend local` has JupyterLab's stand-in."""

    def notebook(*words: object, text: str = SERVER) -> subprocess.CompletedProcess[str]:
        package = tmp_path / "packages" / "jupyterlab"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "labapp.py").write_text(text)
        argv = [sys.executable, "-m", "hpcdl", *map(str, words)]
        env = {**os.environ, "PYTHONPATH": str(package.parent)}
        env.pop("DISPLAY", None)
        sets = ("--set", f"pythonpath=[{package.parent}]") if "--backend" in words else ()
        return subprocess.run(
            [*argv, *sets], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    yield notebook
    for root in tmp_path.glob("runs/[!.]*/*"):
        Run(root).cancel()


def folder_of(answer: subprocess.CompletedProcess[str]) -> Path:
    return Path(re.findall(r"its run: (.*)", answer.stderr)[0])


def log_with(root: Path, text: str) -> str:
    """The log of a run once it has a text: its lines come a moment after the address."""
    deadline = time.monotonic() + 30
    while text not in (log := (root / "logs/1.log").read_text()):
        assert time.monotonic() < deadline, log
        time.sleep(0.1)
    return log


def status_of(url: str) -> int:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=20)
    connection.request("GET", f"/{path}")
    return connection.getresponse().status


def test_local_notebook_answers_its_user(desk):
    """The address alone is on stdout; without the token nobody gets in; no log has it."""
    answer = desk("notebook", "--backend", "local", "--open", "--time", "00:05:00")
    url = answer.stdout.removesuffix("\n")
    root = folder_of(answer)
    again = desk("notebook", root)

    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/lab\?token=\S{32,}", url)
    assert status_of(url) == 200
    assert status_of(url.partition("?")[0]) == 403
    assert again.stdout == answer.stdout
    assert "there is no display here for --open" in answer.stderr
    assert f"end it with: hpcdl cancel {root.parent.name}/{root.name}" not in answer.stdout
    log_with(root, "this notebook ends in")
    log = log_with(root, "asked for /lab?token=...\n")
    assert re.search("this notebook ends in [34] minutes", log)
    assert json.loads((root / "attempts.jsonl").read_text())["event"] == "start"
    (end,) = re.findall(r"the job's end: (\d+)\n", log)
    assert json.loads((root / "jupyter/address.json").read_text())["ends"] == int(end) - 60

    Run(root).cancel()
    ended = desk("notebook", root)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("cancelled.")


def test_failed_start_shows_log(desk):
    answer = desk("notebook", "--backend", "local", text=BROKEN)

    assert (answer.returncode, answer.stdout) == (1, "")
    assert "failed: user_code" in answer.stderr
    assert "no module named tornado" in answer.stderr


def test_killed_notebook_leaves_no_token(desk):
    """The program's own end is not reached then."""
    root = folder_of(desk("notebook", "--backend", "local"))
    token = root / "jupyter/token"
    assert token.exists()

    (pid,) = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if leads(pid, root)]
    os.kill(pid, signal.SIGKILL)
    ended = Run(root).wait(timeout_s=60)

    assert ended.state == "failed"
    assert not token.parent.exists()


def leads(pid: int, root: Path) -> bool:
    """Whether a process is the program of a notebook's run."""
    try:
        words = Path("/proc", str(pid), "cmdline").read_text().split("\0")
    except OSError:
        return False
    return str(root / "user/jupyter_lab.py") in words


def test_dead_nodes_page_is_not_shown(tmp_path):
    """Nobody removed its files; resumed, the run waits, then runs without a page so far."""
    paths = notebook_at(tmp_path, "n1", 8888).paths

    assert read_page(paths, Status("running", attempt=1)) == Page("n1", 8888, "secret", None)
    assert read_page(paths, Status("queued", attempt=1)) is None
    assert read_page(paths, Status("running", attempt=2)) is None


def test_cancel_removes_token(tmp_path):
    run = notebook_at(tmp_path, "n1", 8888)

    assert run.cancel()
    assert not run.paths.jupyter.exists()


def test_machine_without_jupyterlab_is_told(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hpcdl.preflight.jupyterlab, "find_spec", lambda name: None)

    answer = cli("notebook", "--backend", "local")

    assert (answer.code, answer.out) == (2, "")
    assert f"{sys.executable} -m pip install jupyterlab" in answer.err
    assert not (tmp_path / "runs").exists()


def test_other_run_is_no_notebook(cli, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")

    answer = cli("notebook", tmp_path)

    assert answer.code == 2
    assert f"{tmp_path} is not a notebook" in answer.err


def test_running_notebook_keeps_its_size(cli, tmp_path):
    """Its time cannot be made longer by the command that shows its address."""
    run = notebook_at(tmp_path, "n1", 8888)
    run.paths.user.mkdir()
    (run.paths.user / "jupyter_lab.py").touch()

    answer = cli("notebook", tmp_path, "--time", "10:00:00", "--gpus", "2")

    assert (answer.code, answer.out) == (2, "")
    assert "--gpus and --time: a notebook that is there keeps" in answer.err


@pytest.fixture
def browser_of_desk(tmp_path, monkeypatch):
    """What the browser was started with, and the file that it was to show."""
    program, seen = tmp_path / "browser", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$1" >{seen}\ncat "${{1#file://}}" >>{seen}\n')
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(program))
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # it looks at the variable once
    return seen


def test_open_hides_token_from_argv(tmp_path, browser_of_desk, capsys):
    """Everybody on a login node can read what its programs are started with."""
    run = notebook_at(tmp_path, socket.gethostname(), 8888)

    assert show_page(run, opens=True) == 0
    started_with, page = browser_of_desk.read_text().splitlines()
    assert started_with == f"file://{tmp_path}/jupyter/open.html"
    assert "http://127.0.0.1:8888/lab?token=secret" in page
    assert oct((tmp_path / "jupyter/open.html").stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(("reaches", "code"), [(True, 0), (False, 1)])
def test_open_makes_tunnel(tmp_path, monkeypatch, capsys, browser_of_desk, reaches, code):
    """To another machine by ssh, whose stand-in answers once, or has no way to the node."""
    listens = "s.bind(('127.0.0.1', int(sys.argv[5].split(':')[0]))); s.listen(); s.accept()"
    text = f"import socket, sys\ns = socket.socket()\n{listens if reaches else 'sys.exit(255)'}\n"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "ssh").write_text(f"#!{sys.executable}\n{text}")
    (tmp_path / "ssh").chmod(0o755)
    run = notebook_at(tmp_path, "elsewhere", 8888)

    assert show_page(run, opens=True) == code
    said = capsys.readouterr().err
    assert ("the tunnel lasts until Ctrl-C" in said) == reaches
    assert ("ssh does not reach the node from here" in said) != reaches
    assert browser_of_desk.exists() == reaches


def notebook_at(root: Path, host: str, port: int) -> Run:
    """A notebook that answers on a machine."""
    (root / "manifest.json").write_text("{}")
    (root / "jupyter").mkdir()
    (root / "jupyter/token").write_text("secret")
    address = {"host": host, "port": port, "ends": None, "attempt": 1}
    (root / "jupyter/address.json").write_text(json.dumps(address))
    (root / "attempts.jsonl").write_text('{"event": "start", "attempt": 1}\n')
    return Run(root)


def test_ctrl_c_leaves_it(tmp_path, monkeypatch, capsys):
    """The message says how to come back, and how to end it."""

    def watch(self):
        raise KeyboardInterrupt

    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.setattr(Run, "watch", watch)

    assert show_page(Run(tmp_path), opens=False) == 130
    said = capsys.readouterr().err
    assert f"hpcdl notebook {tmp_path}" in said
    assert "end it with: hpcdl cancel" in said


def test_notebook_of_a_training(write_job):
    """It has the job's container, data and folder, one node, and no second attempt."""
    text = "name: a\ndata: {path: /far/x.npz}\nmodel: {name: mlp}\ncontainer: other\n"
    job = load_job(write_job(text + 'resources: {nodes: 2, time: "00:02:00"}\nenv: {A: b}\n'))
    notebook, cluster = as_notebook(job, load_cluster("generic"), "/here")

    assert (notebook.name, notebook.container) == ("a-notebook", "other")
    assert (notebook.model, notebook.data, notebook.train) == (None, None, None)
    assert notebook.env == {"A": "b", "HPCDL_DATA_PATH": "/far/x.npz"}
    assert notebook.workdir == job.folder
    assert notebook.resources.node_count.most == 1
    assert notebook.args == ["--stop-margin-s", "30"]
    assert (cluster.requeue, cluster.max_requeues, cluster.stop_margin_s) == (False, 0, 30)


def test_shipped_notebook_is_in_this_folder():
    notebook, _ = as_notebook(load_job("notebook"), load_cluster("generic"), "/here")

    assert (notebook.name, notebook.workdir) == ("notebook", "/here")


def test_ssh_line_goes_through_login_node(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.setattr("socket.getfqdn", lambda: "login1")
    page = Page("n1", 8888, "secret", None)

    by_name = ssh_line(page, "n1")
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 192.0.2.7 22")

    assert by_name == "ssh -N -L 8888:127.0.0.1:8888 -J ada@login1 ada@n1"
    assert "-J ada@192.0.2.7 ada@n1" in ssh_line(page, "n1")


# shell --on-node


def test_srun_has_every_option():
    job = load_job("mnist_script", ["resources.gpus=2", "slurm.constraint=h100"])
    cluster = load_cluster("marenostrum5", ["cluster.account=nct00"])
    directives = plan(job, cluster).directives

    words = srun_alone(directives, "a-shell", "00:05:00", pty=True)

    assert words == [
        *("srun", "--job-name=a-shell", "--nodes=1", "--ntasks=1", "--ntasks-per-node=1"),
        *("--time=00:05:00", "--cpus-per-task=40", "--gres=gpu:2", "--account=nct00"),
        *("--qos=acc_debug", "--constraint=h100"),
        *("--kill-on-bad-exit=0", "--export=ALL", "--mpi=none", "--pty"),
    ]
    assert srun_alone(directives, "a", None, pty=False)[5] == f"--time={dict(directives)['time']}"


def test_srun_makes_its_own_allocation():
    """In a job of its own user's, srun would otherwise start a step of that."""
    variables = {"SLURM_JOB_ID": "7", "SLURM_CONF": "/etc/s", "SBATCH_QOS": "low", "TERM": "xterm"}

    assert outside_environment(variables) == {"SLURM_CONF": "/etc/s", "TERM": "xterm"}


@pytest.mark.parametrize(
    ("program", "part"),
    [
        (
            (),
            "needs a terminal, and stdin or stdout is none; say what to run: --on-node -- PROGRAM",
        ),
        (("--", "hostname"), "there is no srun on this machine"),
    ],
)
def test_shell_on_node_refused(cli, tmp_path, monkeypatch, program, part):
    monkeypatch.setenv("PATH", str(tmp_path))

    answer = cli("shell", "mnist_cnn", "--cluster", "generic", "--on-node", *program)

    assert answer.code == (1 if program else 2)
    assert part in answer.err
